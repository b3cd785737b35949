"""How is a kernel built with other versions of its modules? By the firmware's Makefile, on a copy of what is built."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.files import BY_UMASK, write_atomically, writing
from bareflow_gdb.foreign import sentence
from bareflow_gdb.pgo.firmware import Firmware
from bareflow_gdb.qemu.default import SOURCES

_PARTS = ("kernel", "modules", "libs", "microjit")
_SECONDS = 600.0
BUILT = ("fluid.img", "kernel.elf")


def prepare(firmware: Firmware, work: Path) -> None:
    """Copies what was built, times and all, so that make builds the difference only. Raises CannotWrite."""
    with writing(work):
        for part in _PARTS:
            shutil.copytree(firmware.folder / part, work / part, dirs_exist_ok=True)
        for file in firmware.folder.iterdir():
            if file.is_file() and file.suffix in ("", ".bin", ".inc"):
                shutil.copy2(file, work / file.name)


def with_images(work: Path, images: Mapping[str, bytes]) -> Path:
    """The boot image of a kernel that embeds these in the place of its modules' O0."""
    folder = work / "from"
    with writing(folder):
        folder.mkdir(exist_ok=True)
        for name, image in images.items():
            (folder / f"{name}.O0.mod").write_bytes(image)
    return _make(work, f"MODULE_FROM={folder}")


def with_cache(work: Path, cache: Path) -> Path:
    """The boot image of a kernel that carries a cache."""
    return _make(work, f"CACHE={cache.resolve()}")


def install(work: Path, out: Path) -> Path:
    """Puts boot image and ELF into `out`, each whole; returns the boot image. Raises CannotWrite."""
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    for name in reversed(BUILT):
        write_atomically(out / name, (work / name).read_bytes(), BY_UMASK)
    return out / BUILT[0]


def _make(work: Path, variable: str) -> Path:
    sources = SOURCES / "firmware"
    if not (sources / "Makefile").is_file():
        raise UsageError("a kernel is built from a checkout of the project; run this there")
    image = work / BUILT[0]
    with suppress(FileNotFoundError):
        image.unlink()
    words = ["make", "-s", "--no-print-directory", "-C", str(sources), f"OUT={work.resolve()}"]
    words += [f"PYTHON={sys.executable}", variable, str(image.resolve())]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BareflowError(f"make did not build the kernel ({error}); look at it with `make firmware`") from error
    if done.returncode or not image.is_file():
        lines = (done.stderr + done.stdout).decode("utf-8", "replace").splitlines()
        said = [line for line in lines if line.strip() and not line.startswith("make")]
        why = sentence(said[0])[:300] if said else "it did not say why"
        raise BareflowError(f"the kernel was not built: {why}; nothing was changed")
    return image
