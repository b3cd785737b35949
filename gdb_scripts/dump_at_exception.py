"""Dumps everything when the guest takes an exception: answers as JSON, summary.txt, guest.core.

    gdb -batch -x gdb_scripts/bareflow.py -ex 'bf attach NAME' -x gdb_scripts/dump_at_exception.py

Arguments: $bf_out or BF_OUT, the directory (default exception-dump). Exit status: 0 when the run ended without an
exception, 1 when one was dumped, 2 when it could not look.
"""

from contextlib import ExitStack, contextmanager
from pathlib import Path

import gdb

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.gdb_ui import headless, running
from bareflow_gdb.gdb_ui.guest_names import exported
from bareflow_gdb.gdb_ui.session import Session

QUESTIONS = (
    "status",
    "boot",
    "exception",
    "cpu",
    "stack",
    "modules",
    "pools",
    "jit",
    "profile",
    "swaps",
    "log",
)
SUMMARY = ("status", "exception", "identify", "stack", "log")
HOOK = "bareflow_hook_exception"


def main(session: Session) -> int:
    folder = Path(headless.argument("out", "exception-dump")).absolute()
    if not session.guest.exception().count:
        with ExitStack() as stack:
            stack.enter_context(hook(session))
            stack.enter_context(running.internal_breakpoint(exported(session, HOOK)))
            stack.enter_context(headless.end_of_run(session))
            running.resume()
        session.refresh()
    record = session.guest.exception()
    if not record.count:
        print(f"no exception; the guest is at stage {session.guest.boot().stage}")
        return headless.FINE
    dump(session, folder)
    print(f"{record.name} at 0x{record.registers.eip:08x}; everything is in {folder}")
    return headless.NO


@contextmanager
def hook(session: Session):
    """The guest calls its exception hook; as it was afterwards."""
    address = session.guest.root().address + layouts.offset("bf_root", "hook_mask")
    before = session.memory.read(address, 4, "hook mask")
    mask = int.from_bytes(before, "little") | layouts.const("BF_HOOK_EXCEPTION")
    session.memory.write(address, mask.to_bytes(4, "little"), "hook mask")
    try:
        yield
    finally:
        if gdb.selected_inferior().pid:
            session.memory.write(address, before, "hook mask")


def dump(session: Session, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    texts = {}
    place = f"0x{session.guest.exception().registers.eip:08x}"
    for question, *words in (*((name,) for name in QUESTIONS), ("identify", place)):
        try:
            texts[question], json = headless.ask(session, question, *words)
            (folder / f"{question}.json").write_text(json + "\n")
        except BareflowError as error:
            # The others may still answer.
            texts[question] = f"{question}: {error}"
    summary = [texts[question] for question in SUMMARY]
    summary += [text for question, text in texts.items() if not (folder / f"{question}.json").exists()]
    (folder / "summary.txt").write_text("\n\n".join(summary) + "\n")
    core = folder / "guest.core"
    if session.machine is not None:
        session.machine.dump_core(core)
    else:
        gdb.execute(f"monitor dump-guest-memory {core}", to_string=True)


headless.run(main)
