"""A kernel of a test's own: what is built already is taken over, so that only the difference is built."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PARTS = ("kernel", "modules", "libs", "microjit")


def own_output(firmware: Path, out: Path) -> Path:
    """A copy of the build, times and all, for `make` to go on from."""
    for part in PARTS:
        shutil.copytree(firmware / part, out / part)
    for file in firmware.iterdir():
        if file.is_file() and file.suffix in ("", ".bin", ".inc"):
            shutil.copy2(file, out / file.name)
    return out


def make(out: Path, *words: str) -> Path:
    """The disk image of a kernel built into `out` with these variables of make."""
    image = out / "fluid.img"
    command = ["make", "--no-print-directory", "-j2", "-C", str(ROOT / "firmware"), f"OUT={out}"]
    done = subprocess.run(
        [*command, f"PYTHON={sys.executable}", *words, str(image)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return image
