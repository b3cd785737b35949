"""Which kernel runs when none is named? The one that was built here, else the one that the package carries."""

from __future__ import annotations

from pathlib import Path

BUILT = Path("build/firmware")
PACKAGE = Path(__file__).parents[1]
PACKAGED = PACKAGE / "demo"
"""Only in a wheel: `make wheel` puts the built kernel and its sources there."""
SOURCES = PACKAGED if PACKAGED.is_dir() else PACKAGE.parent
"""What the paths in the kernel's DWARF begin in."""


def default_image() -> Path:
    """The boot image; the disk of modules and the kernel's ELF lie beside it."""
    return _image("fluid.img")


def llama_image() -> Path:
    """The boot image of the language model's unikernel."""
    return _image("llama.img")


def _image(name: str) -> Path:
    candidates = [folder / name for folder in (BUILT, PACKAGE.parent / BUILT, PACKAGED)]
    return next((image for image in candidates if image.is_file()), candidates[0])
