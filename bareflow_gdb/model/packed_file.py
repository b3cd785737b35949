"""What is in a packed model file: its head, the bytes of its parts, its tokens; and is all of it whole?"""

from __future__ import annotations

import mmap
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData
from bareflow_gdb.model.encodings import Floats
from bareflow_gdb.model.packed import Model, Part, decode, head_bytes, parts_claimed
from bareflow_gdb.model.progress import Progress, silent
from bareflow_gdb.model.source import about, mapped
from bareflow_gdb.model.tiles import ROWS, Integers, from_bytes, most_scale
from bareflow_gdb.model.vocabulary import Merge, Vocabulary

SMALL = Path(__file__).with_name("small.bfm")
"""The model that comes with the suite; models/small/ has learnt it."""
_AT_ONCE = 4 << 20


@dataclass(frozen=True)
class PackedFile:
    """A packed model; its head was right when it was opened, its parts are as they are."""

    path: Path
    model: Model
    data: mmap.mmap

    @classmethod
    def open(cls, path: Path) -> PackedFile:
        """Raises UsageError, Unreachable, BadData."""
        with about(path):
            data = mapped(path)
            size = head_bytes(parts_claimed(data[: head_bytes(0)]))
            return cls(path, decode(data[:size], len(data)), data)

    def part(self, name: str) -> Part:
        return next(part for part in self.model.parts if part.name == name)

    def words(self, part: Part) -> NDArray[np.uint32]:
        """A part as whole numbers. Raises BadData when it is none."""
        if part.bytes % 4:
            raise BadData(f"its part {part.name} has {part.bytes:,} bytes, which are no whole words; pack it again")
        return np.frombuffer(self.data, "<u4", part.bytes // 4, part.offset)

    def floats(self, part: Part) -> Floats:
        return np.frombuffer(self.data, "<f4", part.bytes // 4, part.offset)

    def rows(self, part: Part, first: int = 0, count: int | None = None) -> Integers:
        """Rows of a matrix; `first` is the first of a tile."""
        count = part.rows - first if count is None else count
        tiles = -(-count // ROWS)
        at = part.offset + first // ROWS * part.tile_bytes
        raw = np.frombuffer(self.data, np.uint8, tiles * part.tile_bytes, at)
        factors = np.frombuffer(self.data, "<f4", count, part.offset + part.tiles * part.tile_bytes + 4 * first)
        return from_bytes(raw, part.groups, factors)

    @cached_property
    def vocabulary(self) -> Vocabulary | None:
        """The tokens; None when the file has none. Raises BadData."""
        model = self.model
        if model.pieces == "NONE":
            return None
        types = self._bytes("TOKEN_TYPES")
        ends, text = self._words("TOKEN_ENDS"), self._bytes("TOKEN_TEXT")
        begins = np.concatenate([[0], ends[:-1]])
        if len(ends) == 0 or ends[-1] > len(text) or (begins > ends).any():
            raise BadData("its texts of tokens do not follow one another; it is damaged, pack the model again")
        table = self._words("MERGES")
        if len(table) % 4:
            raise BadData("its merges are no whole records; it is damaged, pack the model again")
        merges = table.reshape(-1, 4)
        ordered = merges[np.argsort(merges[:, 2], kind="stable")].tolist()
        texts = tuple(text[begin:end] for begin, end in zip(begins.tolist(), ends.tolist(), strict=True))
        made = Vocabulary(
            texts,
            types,
            tuple(Merge(left, right, joined) for left, right, _, joined in ordered),
            model.pieces,
            model.bos,
            model.eos,
            model.add_bos,
        )
        return made.checked()

    def chat(self) -> tuple[list[int], list[int]] | None:
        """Tokens before and after what a person says; None when it is no chat model."""
        before, after = self.model.find("CHAT_BEFORE"), self.model.find("CHAT_AFTER")
        return (self.words(before).tolist(), self.words(after).tolist()) if before and after else None

    def _bytes(self, kind: str) -> bytes:
        part = self._found(kind)
        return self.data[part.offset : part.offset + part.bytes]

    def _words(self, kind: str) -> NDArray[np.uint32]:
        return self.words(self._found(kind))

    def _found(self, kind: str) -> Part:
        part = self.model.find(kind)
        if part is None:
            raise BadData(f"it has no part {kind.lower().replace('_', ' ')}; it is damaged, pack the model again")
        return part

    def damages(self, progress: Progress = silent) -> Iterator[str]:
        """A sentence for each part that is not as it was written, or that the guest cannot calculate with."""
        whole = True
        for part in self.model.parts:
            progress(part.name, part.offset / self.model.file_bytes)
            crc = 0
            for at in range(part.offset, part.offset + part.bytes, _AT_ONCE):
                crc = zlib.crc32(self.data[at : min(at + _AT_ONCE, part.offset + part.bytes)], crc)
            if crc != part.crc:
                whole = False
                yield f"part {part.name} has CRC 0x{crc:08x} and says 0x{part.crc:08x}; it is damaged"
            elif part.planes:
                yield from self._matrix_damages(part)
        progress("done", 1.0)
        if whole:
            try:
                _ = self.vocabulary
                self.chat()
            except BadData as error:
                yield str(error)

    def _matrix_damages(self, part: Part) -> Iterator[str]:
        most = most_scale(part.groups)
        step = max(1, _AT_ONCE // part.tile_bytes)
        for tile in range(0, part.tiles, step):
            tiles = min(step, part.tiles - tile)
            raw = np.frombuffer(self.data, np.uint8, tiles * part.tile_bytes, part.offset + tile * part.tile_bytes)
            scales = raw.reshape(-1, layouts.const("BF_MODEL_GROUP_BYTES"))[:, -4 * ROWS :].copy().view("<i2")
            if scales.max() > most or scales.min() < -most:
                yield f"part {part.name} has a scale beyond {most:,} from row {tile * ROWS:,} on; a sum could overflow"
                return
        factors = np.frombuffer(self.data, "<f4", part.tiles * ROWS, part.offset + part.tiles * part.tile_bytes)
        if not np.isfinite(factors).all():
            yield f"part {part.name} has a factor that is not finite; pack the model again"
