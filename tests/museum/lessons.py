"""Records the shell sessions of docs/diagnosing.md: what a terminal shows of a broken guest, from symptom to fix.

    python -m museum.lessons

A block stands between `<!-- lesson NAME -->` and `<!-- end -->`. The image of a lesson is called broken.img there, and
what it is when the defect is mended healthy.img.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from museum.exhibit import OURS, STOCK
from museum.images import Hall
from museum.started import WING

ROOT = Path(__file__).resolve().parents[2]
FIRMWARE = ROOT / "build" / "firmware"
DOCUMENT = ROOT / "docs" / "diagnosing.md"
_BLOCK = re.compile(r"(?P<head><!-- lesson (?P<name>\S+) -->\n)(?P<body>.*?)(?P<end><!-- end -->)", re.DOTALL)
_SECONDS = re.compile(r"\b\d+\.\d s\b")
_DISK = "modules.img"


@dataclass(frozen=True)
class Lesson:
    """An exhibit that is started, the healthy image beside it, and what is typed."""

    defect: str
    variant: str
    place: int
    healthy: str
    commands: tuple[str, ...]


DIAGNOSE, BISECT, MENDED = (
    "bareflow diagnose broken.img",
    "bareflow diagnose --bisect healthy.img broken.img",
    "bareflow diagnose healthy.img",
)
LESSONS = {
    "nothing": Lesson("the loader reads too few sectors", STOCK, 0, "stock/stock.img", (DIAGNOSE, BISECT, MENDED)),
    "reboots": Lesson("compiled for the host CPU", OURS, 1, "fluid.img", (f"{DIAGNOSE} --disk {_DISK}", BISECT)),
    "modules": Lesson(
        "the FAT16 driver reads the master",
        OURS,
        0,
        "fluid.img",
        (f"{DIAGNOSE} --disk {_DISK}", BISECT, f"{MENDED} --disk {_DISK}"),
    ),
    "slow": Lesson("an interrupt storm", OURS, 0, "fluid.img", (f"{DIAGNOSE} --disk {_DISK}", BISECT)),
}


def recorded(text: str) -> dict[str, str]:
    """The blocks of the document by name."""
    return {block["name"]: block["body"] for block in _BLOCK.finditer(text)}


def record(lesson: Lesson) -> str:
    """What a terminal shows."""
    exhibit = next(one for one in WING if (one.defect, one.variant) == (lesson.defect, lesson.variant))
    with tempfile.TemporaryDirectory(prefix="bareflow-lesson-") as name:
        folder = Path(name)
        hall = Hall(FIRMWARE, FIRMWARE / "museum", folder)
        exhibit.make(hall, lesson.place)
        hall.image.rename(folder / "broken.img")
        healthy = Hall(FIRMWARE, FIRMWARE, folder)
        healthy.take(lesson.healthy)
        healthy.image.rename(folder / "healthy.img")
        elf = (FIRMWARE / lesson.healthy).with_suffix(".elf")
        shutil.copy(elf if elf.is_file() else elf.with_name("kernel.elf"), folder / "healthy.elf")
        if hall.disk is not None:
            hall.disk.rename(folder / _DISK)
        shown = []
        for command in lesson.commands:
            words = [sys.executable, "-m", "bareflow_gdb.cli.main", *command.split()[1:]]
            environment = {
                **os.environ,
                "NO_COLOR": "1",
                "COLUMNS": "110",
                "PYTHONPATH": str(ROOT),
                "XDG_RUNTIME_DIR": name,
            }
            done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode in (0, 1), done.stderr
            shown.append(f"$ {command}\n{done.stdout.rstrip()}\n")
    return "```text\n" + _SECONDS.sub("… s", "".join(shown)) + "```\n"


def main() -> None:
    """Writes every block anew."""
    text = DOCUMENT.read_text()
    DOCUMENT.write_text(_BLOCK.sub(lambda block: block["head"] + record(LESSONS[block["name"]]) + block["end"], text))


if __name__ == "__main__":
    main()
