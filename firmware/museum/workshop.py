"""Builds the defects of defects.toml, one at a time, in a copy of the firmware. Called by `make -C firmware museum`.

workshop.py OUT [NAME …]: OUT is the build directory; the images go to OUT/museum.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

FIRMWARE = Path(__file__).resolve().parents[1]
LIST = Path(__file__).with_name("defects.toml")


@dataclass(frozen=True)
class Defect:
    """A line of the firmware, what stands in its place, and the image that is made of it."""

    image: str
    file: str
    old: str
    new: list[str]


def defects() -> dict[str, Defect]:
    """Those of defects.toml by name."""
    return {name: Defect(**fields) for name, fields in tomllib.loads(LIST.read_text()).items()}


class Workshop:
    """A copy of the firmware in which one thing at a time is broken and built."""

    def __init__(self, folder: Path, built: Path) -> None:
        self.folder = folder
        root = FIRMWARE.parent
        for name in ("firmware", "bareflow_gdb"):
            shutil.copytree(root / name, folder / name, copy_function=shutil.copy2)
        self.built = folder / "build" / "firmware"
        shutil.copytree(built, self.built, copy_function=shutil.copy2, ignore=shutil.ignore_patterns("museum"))
        self.make("fluid.img", "fat16.img")

    def make(self, *images: str) -> None:
        """Builds what has changed."""
        words = ("make", "-s", "-j2", "-C", str(self.folder / "firmware"), f"PYTHON={sys.executable}")
        subprocess.run(
            [*words, *(f"../build/firmware/{image}" for image in images)], check=True, stdout=subprocess.DEVNULL
        )

    @contextmanager
    def broken(self, file: str, old: str, new: str) -> Iterator[None]:
        """A source file with that line replaced; as before afterwards."""
        path = self.folder / "firmware" / file
        source = path.read_text()
        if old not in source:
            raise SystemExit(f"museum: {file} no longer has {old!r}: mend firmware/museum/defects.toml")
        path.write_text(source.replace(old, new))
        self._touch(file)
        try:
            yield
        finally:
            path.write_text(source)
            self._touch(file)

    def _touch(self, file: str) -> None:
        """Nothing is built again when only flags have changed."""
        if file == "Makefile":
            for each in (self.folder / "firmware" / "kernel").glob("*.c"):
                each.touch()


def main(out: Path, wanted: list[str]) -> None:
    """Builds all of them, or those that are wanted."""
    museum = out / "museum"
    museum.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bareflow-museum-") as folder:
        workshop = Workshop(Path(folder), out)
        for name, defect in defects().items():
            if wanted and name not in wanted:
                continue
            for place, new in enumerate(defect.new):
                print(f"museum: {name}, {place}", flush=True)
                with workshop.broken(defect.file, defect.old, new):
                    workshop.make(defect.image)
                    shutil.copy(workshop.built / defect.image, museum / f"{name}.{place}.img")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2:])
