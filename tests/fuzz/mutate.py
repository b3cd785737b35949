"""How is a good input damaged? Each change is drawn from a seeded `random.Random`: the same seed, the same damage."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from mmap import mmap
from random import Random
from typing import Any

from bareflow_gdb.abi import layouts

NUMBERS = (0, 1, 2, 3, 4, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFF0, 0xFFFFF000)
PLACES = (0x600, 0x9FFFF, 0xA0000, 0xB8000, 0xFFFFF, 0x100000, 0x10000, 0x200010, 0x2C0020, 0x3FFFFFC, 0x4000000)
WORDS = (*NUMBERS, *PLACES)
TOKENS = (
    b"\0",
    b"\x1b]0;title\x07\x1b[31m",
    b"\xff\xfe\xc3",
    b"\xe2\x80\xae",
    b"\r\n",
    b"\n",
    b" ",
    b": ",
    b"=",
    b"-1",
    b"00",
    b"0x",
    b"99999999999999999999999999",
    b"1e999",
    b"NaN",
    b"%s%n",
    b"../../etc/passwd",
    b"/dev/zero",
    b'"',
    b"{",
    b"[",
    b"]",
    b"}",
    b"null",
    b"<script>",
    b"A" * 300,
)
_STEPS = (-1, 1, -4, 4, 0x100, -0x1000, 0x10000000)
_SIZES = {1: "<B", 2: "<H", 4: "<I", 8: "<Q"}


@dataclass(frozen=True)
class Region:
    """A part of a file worth damaging: where it is, and the `struct` of abi/ that repeats there, if it is one."""

    at: int
    size: int
    struct: str = ""


class Damaged:
    """A file's bytes, damaged in place and made whole again."""

    def __init__(self, data: bytearray | mmap) -> None:
        self.data = data
        self._before: list[tuple[int, bytes]] = []

    def put(self, at: int, new: bytes) -> None:
        """Writes what fits."""
        new = new[: max(0, len(self.data) - at)]
        self._before.append((at, bytes(self.data[at : at + len(new)])))
        self.data[at : at + len(new)] = new

    def restore(self) -> None:
        """Undoes every `put`."""
        while self._before:
            at, old = self._before.pop()
            self.data[at : at + len(old)] = old


def regions(chance: Random, damaged: Damaged, known: Sequence[Region], most: int = 10) -> None:
    """Up to `most` changes in the given parts: fields of structures, words, bits, bytes."""
    for _ in range(chance.randint(1, most)):
        region = chance.choice(known)
        at, size = _field(chance, region)
        kind = chance.random()
        if kind < 0.55:
            damaged.put(at, _number(chance, bytes(damaged.data[at : at + size])))
        elif kind < 0.7:
            bit = chance.randrange(8)
            damaged.put(at, bytes(byte ^ 1 << bit for byte in damaged.data[at : at + 1]))
        elif kind < 0.8:
            damaged.put(at, chance.randbytes(chance.randint(1, 64)))
        elif kind < 0.9:
            other = chance.choice(known)
            start = other.at + chance.randrange(max(1, other.size))
            damaged.put(at, bytes(damaged.data[start : start + chance.choice((4, 8, 16, 64))]))
        else:
            damaged.put(at, chance.choice(TOKENS))


def _field(chance: Random, region: Region) -> tuple[int, int]:
    """Offset and size of a field, else of an aligned word."""
    if region.struct and chance.random() < 0.8:
        name = chance.choice(layouts.field_names(region.struct))
        start, size = layouts.offset(region.struct, name), layouts.field_size(region.struct, name)
        record = chance.randrange(max(1, region.size // layouts.size(region.struct))) * layouts.size(region.struct)
        inner = chance.randrange(size // 4) * 4 if size > 4 and size % 4 == 0 else 0
        return region.at + record + start + inner, size if size < 4 else 4
    size = chance.choice((1, 2, 4, 4, 4, 4, 8))
    return region.at + chance.randrange(max(1, region.size)) // size * size, size


def _number(chance: Random, old: bytes) -> bytes:
    """Another number of as many bytes (1, 2, 4 or 8): a nasty one, or one near the old one."""
    layout = _SIZES.get(len(old))
    if layout is None:
        return chance.randbytes(len(old))
    (value,) = struct.unpack(layout, old)
    new = chance.choice(WORDS) if chance.random() < 0.7 else value + chance.choice(_STEPS)
    if len(old) == 8 and chance.random() < 0.3:
        new |= chance.choice(NUMBERS) << 32
    return struct.pack(layout, new & (1 << 8 * len(old)) - 1)


def blob(chance: Random, data: bytes, others: Sequence[bytes] = (), tokens: Sequence[bytes] = TOKENS) -> bytes:
    """Bytes of no known structure: cut, doubled, spliced, overwritten, with nasty words in them."""
    made = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 5, 8))):
        at = chance.randrange(len(made) + 1)
        length = min(chance.choice((1, 2, 4, 8, 16, 64, 512)), len(made) - at)
        kind = chance.randrange(8)
        if kind == 0:
            made[at : at + length] = chance.randbytes(length)
        elif kind == 1:
            del made[at : at + length]
        elif kind == 2:
            made[at:at] = made[at : at + length] * chance.choice((1, 2, 50))
        elif kind == 3:
            del made[at:]
        elif kind == 4:
            made[at : at + chance.choice((0, length))] = chance.choice(tokens)
        elif kind == 5 and others:
            made[at:] = chance.choice(others)[at:]
        elif kind == 6 and length:
            made[at] ^= 1 << chance.randrange(8)
        else:
            at &= ~3
            made[at : at + 4] = struct.pack("<I", chance.choice(WORDS))
    return bytes(made)


VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    1,
    1 << 31,
    1 << 64,
    10**400,
    -0.5,
    float("nan"),
    float("inf"),
    "",
    "x" * 5000,
    "\x1b[31m\x07\x9b",
    "\u202e\ud800",
    "/dev/zero",
    "../../x",
    [],
    {},
    [[]],
)
DEPTH = 50_000


def json_text(chance: Random, text: bytes) -> bytes:
    """Damaged JSON: mostly well-formed, with wrong values at any depth."""
    kind = chance.random()
    if kind < 0.2:
        return blob(chance, text)
    if kind < 0.22:
        return b"[" * DEPTH
    value = json.loads(text)
    for _ in range(chance.choice((1, 1, 2, 4))):
        value = _json_value(chance, value)
    made = json.dumps(value)
    if kind < 0.27:
        # Somewhere a value nests deeper than any recursion.
        at = chance.choice([i for i, c in enumerate(made) if c in "0123456789"] or [0])
        made = f"{made[:at]}{'[' * DEPTH}{']' * DEPTH}{made[at + 1 :]}"
    elif kind < 0.35:
        # A key twice: readers take the last.
        made = made.replace("{", '{"kind": 1, "ranges": 1, "address": 1, ', 1)
    return made.encode()


def _json_value(chance: Random, value: Any) -> Any:
    """`value` with one node changed, wherever."""
    if chance.random() < 0.15 or not value or not isinstance(value, dict | list):
        if isinstance(value, int | float) and chance.random() < 0.5:
            return chance.choice((*WORDS, value + 1, -value))
        return chance.choice(VALUES)
    made: Any = type(value)(value)
    keys = sorted(made) if isinstance(made, dict) else range(len(made))
    key = chance.choice(keys)
    kind = chance.random()
    if kind < 0.1:
        del made[key]
    elif kind < 0.15 and isinstance(made, list):
        made *= chance.choice((2, 5000 // len(made) + 1))
    elif kind < 0.2 and isinstance(made, dict):
        made[chance.choice(("", "x\x1b[m", *keys))] = made[key]
    else:
        made[key] = _json_value(chance, made[key])
    return made


Change = Callable[[Random, bytes], bytes]
