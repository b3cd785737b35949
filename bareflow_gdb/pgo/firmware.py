"""What was built of the kernel's modules: their bitcode, from which every version is compiled, and their images?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from bareflow_gdb.errors import BadData, UsageError
from bareflow_gdb.small_files import read_small

MOST_BYTES = 16 << 20
_LISTED = re.compile(r"^name_([A-Za-z0-9_]+):$", re.MULTILINE)


@dataclass(frozen=True)
class Firmware:
    """A directory that `make firmware` filled."""

    folder: Path

    @classmethod
    def of(cls, image: Path) -> Firmware:
        """The one that a boot image lies in. Raises UsageError."""
        if not (image.parent / "modules").is_dir():
            raise UsageError(f"{image.parent} holds no built modules; `make firmware` builds them")
        return cls(image.parent)

    @property
    def image(self) -> Path:
        """The boot image."""
        return self.folder / "fluid.img"

    def names(self) -> tuple[str, ...]:
        """The modules that the kernel embeds, in its order. Raises BadData."""
        listed = _LISTED.findall(self._read("embedded.S").decode("utf-8", "replace"))
        if not listed:
            raise BadData(f"{self.folder / 'modules' / 'embedded.S'} lists no modules; `make firmware` builds it anew")
        return tuple(listed)

    def bitcode(self, name: str) -> Path:
        """The file. Raises UsageError when there is none."""
        path = self.folder / "modules" / f"{name}.bc"
        if not path.is_file():
            raise UsageError(f"there is no bitcode of module {name} in {path.parent}; take a profile of this kernel")
        return path

    def digest(self, name: str) -> str:
        """SHA-256 of the bitcode. Raises UsageError, BadData."""
        self.bitcode(name)
        return sha256(self._read(f"{name}.bc")).hexdigest()

    def image_of(self, name: str) -> bytes:
        """The module's image at O0, which sets the layout of its data. Raises BadData."""
        return self._read(f"{name}.O0.mod")

    def _read(self, name: str) -> bytes:
        path = self.folder / "modules" / name
        try:
            return read_small(path, MOST_BYTES)
        except (OSError, ValueError) as error:
            raise BadData(f"cannot read {path} ({error}); `make firmware` builds it") from error
