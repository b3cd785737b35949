"""What does a terminal show? Records the sessions of the documents again: a real gdb on the real guest.

    python docs/record.py [--gdb GDB] [NAME ...]        (part of `make docs`)

A block stands between `<!-- session NAME [LINES] -->` and `<!-- end -->`; SESSIONS says what is typed in it, LINES how
much of each command's output is shown.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bareflow_gdb.build.fat_image import parse_file, write_image
from bareflow_gdb.guest.boot.wait import wait_for_serial, wait_for_stage
from bareflow_gdb.model.packed_file import SMALL
from bareflow_gdb.qemu.image import RootSettings
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.questions import registry

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = (ROOT / "README.md", DOCS / "tutorial.md", DOCS / "reference.md", DOCS / "gdb-facilities.md")
IMAGE = ROOT / "build" / "firmware" / "fluid.img"
STOCK = ROOT / "build" / "firmware" / "stock" / "stock.img"
STOCK_ENDS = "--- END JSON ---"
LLAMA = ROOT / "build" / "firmware" / "llama.img"
SCRIPT = ROOT / "gdb_scripts" / "bareflow.py"
ELF = "build/firmware/kernel.elf"
SECONDS = 180
THRESHOLDS = (100, 1000, 10000)
NAME = "demo"
MOST_LINES = 34

_BLOCK = re.compile(
    r"(?P<head><!-- session (?P<name>\S+)(?: (?P<lines>\d+))? -->\n)(?P<body>.*?)(?P<end><!-- end -->)", re.DOTALL
)


@dataclass(frozen=True)
class Session:
    """What is typed, and at which guest.

    "idle" after its run, "held" before it, "llama": a language model's, held, "paused" before the BIOS, "stock": a
    kernel without debug interface, "core": none any more, but the core of one that died, "none".
    """

    guest: str
    commands: tuple[str, ...]
    elf: bool = True


ATTACH = f"bf attach {NAME}"
# Stands for a directory that is gone after the recording.
FOLDER = "/run/user/1000"
CORE = f"{FOLDER}/night.core"
DIES = ("bf release", 'set {unsigned short} $bf_func("primes") = 0x0b0f', "tbreak cpu_halt", "continue")
"""An invalid instruction where primes begins."""
# Each question is asked as its example says. Below: commands, and questions for which that is not enough.
SESSIONS = {question.name: Session("idle", (ATTACH, f"bf {question.example}")) for question in registry.every()} | {
    "break-boot": Session(
        "paused", (ATTACH, "bf break-boot stage2 --run", "bf step-boot 5 --over", "bf break-boot pm --run")
    ),
    "step-swap": Session("held", (ATTACH, "bf release", "bf step-swap sum --stay --lines 14")),
    "swap": Session(
        "idle",
        (ATTACH, "bf swap force primes O1", "bf swap rollback primes", "bf swap allow primes", "bf swap veto sum"),
    ),
    "swap-phases": Session(
        "held",
        (ATTACH, "bf release", "bf step-swap sum --phase copied --lines 5", "bf step-swap sum --phase published"),
    ),
    "disas": Session("idle", (ATTACH, "bf disas sum", "bf disas sum --diff O0 O1")),
    "break-swap": Session(
        "held", (ATTACH, "bf break-swap sum", "bf release", "continue", "delete", "bf watch primes", "continue")
    ),
    "break-layer": Session(
        "llama",
        (ATTACH, "bf break-layer 2 attention", "bf release", "continue", "bf tensor query", "info breakpoints"),
        elf=False,
    ),
    "inference": Session(
        "llama", (ATTACH, "bf break-layer 4", "bf release", "continue", "continue 30", "bf inference"), elf=False
    ),
    "tensor": Session(
        "llama",
        (
            ATTACH,
            "bf break-layer 4",
            "bf release",
            "continue",
            "bf tensor blk.0.attn_q.weight",
            'print $bf_tensor("blk.0.attn_q.weight")[1][3]',
            "bf tensor blk.3.ffn_add",
        ),
        elf=False,
    ),
    "break": Session("held", (ATTACH, "bf break jit:primes@O1", "bf release", "continue", "bf stack")),
    "recompile": Session(
        "idle", (ATTACH, "bf recompile primes --tier O3 --stop", "backtrace 3", "info args", "finish")
    ),
    "jitsym": Session("idle", (ATTACH, "bf jitsym", "info address primes@O3")),
    "trace": Session(
        "held", (ATTACH, f"bf trace start {FOLDER}/run1", "bf release", "tbreak idle", "continue", "bf trace stop")
    ),
    "identify": Session("idle", (ATTACH, "bf identify 0x00200010", "bf identify $esp")),
    "functions": Session(
        "idle",
        (
            ATTACH,
            'print $bf_calls("primes")',
            'print $bf_module("primes")->call_count',
            'x/3i $bf_func("primes", "O3")',
        ),
    ),
    "stack": Session("idle", (ATTACH, "bf stack")),
    "fat": Session("idle", (ATTACH, "bf fat list", "bf fat cat README.TXT")),
    "find": Session("stock", (ATTACH, "bf status", "bf find"), elf=False),
    "core": Session("core", (f"core-file {CORE}", "bf status", "bf stack", "bf identify 0x00201760")),
    "exception": Session("held", (ATTACH, *DIES, "bf exception", "bf identify 0x00201760")),
    "doctor": Session("idle", (ATTACH, "bf doctor --host")),
    "no-guest": Session("none", ("bf status",), elf=False),
}


@contextmanager
def guest(kind: str) -> Iterator[None]:
    """The machine that a session is typed at."""
    if kind == "none":
        yield
        return
    if kind == "stock":
        machine = launch(STOCK, name=NAME, with_disk=False)
    elif kind == "llama":
        disk = Path(_real(FOLDER)) / "model.img"
        write_image([parse_file(str(SMALL))], disk)
        machine = launch(LLAMA, name=NAME, settings=RootSettings(hold=1), disk=disk)
    else:
        settings = RootSettings(thresholds=THRESHOLDS, hold=int(kind in ("held", "core")))
        machine = launch(IMAGE, name=NAME, settings=settings, paused=kind == "paused")
    try:
        if kind == "stock":
            wait_for_serial(machine, STOCK_ENDS, SECONDS)
        elif kind != "paused":
            wait_for_stage(machine, "idle" if kind == "idle" else "registered", SECONDS)
        if kind == "core":
            record("gdb", Session(kind, (ATTACH, *DIES)))
            machine.dump_core(Path(_real(CORE)))
        yield
    finally:
        machine.stop()


def record(gdb: str, session: Session) -> str:
    """What a terminal shows, without paths of this computer."""
    words = [gdb, "-nx", "-batch", "-ex", "set width 110", "-x", str(SCRIPT)]
    for command in session.commands:
        words += ["-ex", f"echo (gdb) {command}\\n", "-ex", _real(command)]
    words += [ELF] if session.elf else []
    done = subprocess.run(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        # One stream, in the order in which it would be seen.
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=SECONDS,
        cwd=ROOT,
        env={**os.environ, "NO_COLOR": "1"},
    )
    return _clean(done.stdout, session.commands)


def _real(text: str) -> str:
    return text.replace(FOLDER, os.environ["XDG_RUNTIME_DIR"])


def _clean(text: str, commands: tuple[str, ...]) -> str:
    start = text.index(f"(gdb) {commands[0]}")
    lines = text[start:].replace(f"{ROOT}/", "").replace(os.environ["XDG_RUNTIME_DIR"], FOLDER)
    kept = [line.rstrip() for line in lines.splitlines() if not line.startswith("[Inferior 1 (process 1)")]
    return "\n".join(kept).rstrip()


def _shortened(lines: list[str], most: int) -> Iterator[str]:
    """The first lines of what each command printed."""
    since = 0
    for number, line in enumerate(lines):
        since = 0 if line.startswith("(gdb) ") else since + 1
        if since <= most:
            yield line
        elif number + 1 == len(lines) or lines[number + 1].startswith("(gdb) "):
            yield f"  ({since - most} more lines)"


def rewrite(page: str, blocks: dict[str, str]) -> str:
    """The page with new contents of the named blocks, each as long as the page wants it."""

    def block(found: re.Match[str]) -> str:
        text = blocks.get(found["name"])
        if text is None:
            return found[0]
        lines = "\n".join(_shortened(text.splitlines(), int(found["lines"] or MOST_LINES)))
        return f"{found['head']}```text\n{lines}\n```\n{found['end']}"

    return _BLOCK.sub(block, page)


def recorded(page: str) -> dict[str, str]:
    """The blocks of the page."""
    return {found["name"]: found["body"] for found in _BLOCK.finditer(page)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gdb", default="gdb")
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these sessions (default: all)")
    options = parser.parse_args()
    names = options.names or list(SESSIONS)
    with tempfile.TemporaryDirectory(prefix="bfd-") as folder:
        os.environ["XDG_RUNTIME_DIR"] = os.environ["XDG_CACHE_HOME"] = folder
        for kind in ("none", "idle", "held", "paused", "stock", "core", "llama"):
            for group in _groups(kind, names):
                with guest(kind):
                    for name in group:
                        print(f"recording {name} ({kind} guest)", file=sys.stderr)
                        blocks = {name: record(options.gdb, SESSIONS[name])}
                        for page in PAGES:
                            page.write_text(rewrite(page.read_text(encoding="utf-8"), blocks), encoding="utf-8")
    return 0


def _groups(kind: str, names: list[str]) -> list[list[str]]:
    """Sessions that one machine serves: those that only read share it, the others change it."""
    chosen = [name for name in names if SESSIONS[name].guest == kind]
    if kind != "idle":
        return [[name] for name in chosen]
    alone = [name for name in chosen if name == "recompile"]
    return [group for group in ([name for name in chosen if name not in alone], alone) if group]


if __name__ == "__main__":
    sys.exit(main())
