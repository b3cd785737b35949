"""In what do two images differ that matters? In this order: place, loader, entry, sections, flags, modules, code."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bareflow_gdb.abi import layouts
from bareflow_gdb.analysis.image_parts import SETTINGS, Parts, Section, read_parts
from bareflow_gdb.guest.code.code_diff import disassembler
from bareflow_gdb.guest.code.vector_code import vector_instructions
from bareflow_gdb.qemu.image import SECTOR

_NUMBER = re.compile(r"\b0x[0-9a-f]{4,8}\b")
_MOST_NAMED = 6
_MOST_CODE = 1 << 19


@dataclass(frozen=True)
class Difference:
    """One thing in which the bad image is otherwise."""

    kind: str
    """"load", "loader", "entry", "sections", "flags", "modules", "code", "data", "settings"."""
    what: str
    good: str
    bad: str
    consequence: str = ""


@dataclass(frozen=True)
class Differences:
    """Of two images, in the order in which they matter: what is first may explain those after it."""

    good: Path
    bad: Path
    differences: tuple[Difference, ...]
    same: tuple[str, ...]
    """The kinds in which they are alike."""

    @property
    def first(self) -> Difference | None:
        """What to look at."""
        return self.differences[0] if self.differences else None


def compare(good: Path, bad: Path) -> Differences:
    """Raises UsageError when one is no image, BadData when one is damaged beyond reading."""
    one, other = read_parts(good), read_parts(bad)
    found: list[Difference] = []
    same = []
    for kind, look in _KINDS.items():
        told = list(look(one, other))
        found += told
        if not told:
            same.append(kind)
    return Differences(good, bad, tuple(found), tuple(same))


def _loader(good: Parts, bad: Parts) -> Iterator[Difference]:
    if not (good.is_disk and bad.is_disk):
        return
    has, wants = bad.sectors_read, -(-len(bad.kernel) // SECTOR)
    if has is not None and has < wants and (good.sectors_read or 0) >= -(-len(good.kernel) // SECTOR):
        yield Difference(
            "loader",
            "the loader reads too few sectors",
            f"{good.sectors_read} for {-(-len(good.kernel) // SECTOR)}",
            f"{has} for {wants}",
            "the end of the kernel is not in memory",
        )
        return
    parts = (("stage 1", slice(0, SECTOR)), ("stage 2", slice(SECTOR, None)))
    for name, part in parts:
        if good.loader[part] != bad.loader[part]:
            at = _first(good.loader[part], bad.loader[part])
            address = layouts.const("BF_STAGE1_ADDRESS" if name == "stage 1" else "BF_STAGE2_ADDRESS") + at
            start = (SECTOR if name == "stage 2" else 0) + at
            yield Difference(
                "loader",
                f"{name} differs at 0x{address:04x}",
                _bytes(good.loader, start),
                _bytes(bad.loader, start),
                "the boot goes another way before any kernel runs",
            )


def _load(good: Parts, bad: Parts) -> Iterator[Difference]:
    if good.kernel[:4] != bad.kernel[:4]:
        yield Difference("load", "the signature differs", _bytes(good.kernel, 0, 4), _bytes(bad.kernel, 0, 4))
    if good.linked_at != bad.linked_at or good.base != bad.base:
        place, other = (one.linked_at if one.is_disk else one.base for one in (good, bad))
        yield Difference(
            "load",
            "it is linked elsewhere",
            f"0x{place:x}",
            f"0x{other:x}",
            "every string and data address is off; code runs, for its calls are relative",
        )
    if good.crc_is_right != bad.crc_is_right:
        words = {True: "right", False: "wrong"}
        yield Difference(
            "load",
            "the image's CRC",
            words[good.crc_is_right],
            words[bad.crc_is_right],
            "the loader refuses it: FATAL ERROR: 0xD2",
        )
    limit = layouts.const("BF_IMAGE_MAX_SECTORS") * SECTOR
    if len(good.kernel) <= limit < len(bad.kernel):
        yield Difference(
            "load", "the loader cannot hold the image", f"{len(good.kernel):,} bytes", f"{len(bad.kernel):,}"
        )


def _entry(good: Parts, bad: Parts) -> Iterator[Difference]:
    one, other = good.entry, bad.entry
    if one.stack != other.stack:
        yield Difference("entry", "ESP at the entry", f"0x{one.stack:08x}", f"0x{other.stack:08x}")
    if (one.cleared is None) != (other.cleared is None):
        has, has_not = ("not cleared" if each.cleared is None else "cleared" for each in (one, other))
        yield Difference("entry", ".bss at the entry", has, has_not, "variables begin with what was in memory")
    first, second = (_to_the_first_call(parts) for parts in (good, bad))
    if first != second and one == other:
        at = next((n for n, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), 0)
        if at < min(len(first), len(second)):
            yield Difference("entry", "the first instructions", first[at], second[at])


def _to_the_first_call(parts: Parts) -> list[str]:
    """What the entry does itself; the code that it calls is compared with the rest."""
    lines = _normal(parts.first_code, parts.base)
    calls = [at for at, line in enumerate(lines) if line.startswith(("call", "ret", "hlt"))]
    return lines[: calls[0] if calls else None]


def _sections(good: Parts, bad: Parts) -> Iterator[Difference]:
    if good.elf is None or bad.elf is None:
        return
    ours, theirs = ({part.name: part for part in one.sections} for one in (good, bad))
    for name in [*ours, *(name for name in theirs if name not in ours)]:
        one, other = ours.get(name), theirs.get(name)
        if one is None or other is None:
            yield Difference("sections", f"section {name}", _extent(one), _extent(other))
        elif one.data is None and one.size != other.size and max(one.size, other.size) > 2 * min(one.size, other.size):
            yield Difference("sections", f"section {name} has another size", _extent(one), _extent(other))
    stack = layouts.const("BF_STACK_BOTTOM")
    ends = [max((part.address + part.size for part in one.sections), default=0) for one in (good, bad)]
    if ends[0] <= stack < ends[1]:
        yield Difference(
            "sections", "where it ends", f"0x{ends[0]:x}", f"0x{ends[1]:x}", f"it lies over the stack, 0x{stack:x} on"
        )


def _flags(good: Parts, bad: Parts) -> Iterator[Difference]:
    ours, theirs = (len(vector_instructions(one.kernel, one.base)) for one in (good, bad))
    if bool(ours) != bool(theirs):
        yield Difference(
            "flags",
            "compiled for another CPU: instructions of SSE or AVX",
            f"{ours:,}",
            f"{theirs:,}",
            "each is an invalid opcode (#UD) while CR4.OSFXSR is 0",
        )
    if (good.root is None) != (bad.root is None):
        has, has_not = ("no" if one.root is None else "yes" for one in (good, bad))
        yield Difference("flags", "the debug interface", has, has_not)


def _settings(good: Parts, bad: Parts) -> Iterator[Difference]:
    """Words that a launch may set: two images of one build may differ in them."""
    if good.root is None or bad.root is None:
        return
    at = [one.header.root - one.base if one.header else 0 for one in (good, bad)]
    for name in SETTINGS:
        where, size = layouts.offset("bf_root", name), layouts.field_size("bf_root", name)
        one, other = (
            [
                int.from_bytes(parts.kernel[start + word : start + word + 4], "little")
                for word in range(where, where + size, 4)
            ]
            for parts, start in zip((good, bad), at, strict=True)
        )
        if one != other:
            yield Difference("settings", f"the setting {name}", " ".join(map(str, one)), " ".join(map(str, other)))


def _modules(good: Parts, bad: Parts) -> Iterator[Difference]:
    ours, theirs = ({module.name: module for module in one.modules} for one in (good, bad))
    if ours.keys() != theirs.keys():
        missing = sorted(ours.keys() - theirs.keys())
        more = sorted(theirs.keys() - ours.keys())
        words = [f"without {', '.join(missing)}"] if missing else []
        words += [f"with {', '.join(more)}"] if more else []
        yield Difference("modules", "the set of modules", f"{len(ours)}", f"{len(theirs)}, {' and '.join(words)}")
    changed = [name for name, one in ours.items() if name in theirs and theirs[name].digest != one.digest]
    if changed:
        names = ", ".join(changed[:_MOST_NAMED]) + (" …" if len(changed) > _MOST_NAMED else "")
        first = changed[0]
        yield Difference(
            "modules",
            f"the code of {names}",
            f"{first}: {ours[first].size:,} bytes",
            f"{theirs[first].size:,} bytes, {_code_difference(good, bad, first)}",
        )


def _code_difference(good: Parts, bad: Parts, name: str) -> str:
    size = layouts.size("module_header")
    one, other = (
        _normal(parts.kernel[module.offset + size : module.offset + size + module.size], 0)
        for parts in (good, bad)
        for module in parts.modules
        if module.name == name
    )
    pair = next(((a, b) for a, b in zip(one, other, strict=False) if a != b), None)
    return f"`{pair[1]}` for `{pair[0]}`" if pair else "the same instructions at the beginning"


def _code(good: Parts, bad: Parts) -> Iterator[Difference]:
    if good.compared == bad.compared:
        return
    if good.symbols and bad.symbols:
        yield from _by_function(good, bad)
        return
    ours, theirs = (_lines(one.compared[:_MOST_CODE], one.base) for one in (good, bad))
    pair = next(((a, b) for a, b in zip(ours, theirs, strict=False) if a[1] != b[1]), None)
    if pair is not None:
        name = good.symbols.at(pair[0][0])
        where = f" in {name.name}" if name is not None else ""
        yield Difference("code", f"from 0x{pair[0][0]:08x}{where} on", pair[0][1], f"{pair[1][1]} (0x{pair[1][0]:08x})")


def _by_function(good: Parts, bad: Parts) -> Iterator[Difference]:
    """Function by function, by name, in the order of the good one: addresses may all have moved."""
    ours, theirs = (_functions(one) for one in (good, bad))
    different = [name for name, code in ours.items() if name in theirs and code != theirs[name]]
    gone = [name for name in ours if name not in theirs]
    if gone:
        yield Difference(
            "code", f"functions that are gone: {', '.join(gone[:_MOST_NAMED])}", f"{len(ours)}", f"{len(theirs)}"
        )
    if different:
        name = different[0]
        pairs = zip(ours[name], theirs[name], strict=False)
        pair = next(((a, b) for a, b in pairs if a != b), (f"{len(ours[name])} lines", f"{len(theirs[name])} lines"))
        others = f" and of {len(different) - 1} functions more" if len(different) > 1 else ""
        yield Difference("code", f"the code of {name}{others}", *pair)


def _functions(parts: Parts) -> dict[str, list[str]]:
    """Normal code of every function by name."""
    found: dict[str, list[str]] = {}
    text = next((part for part in parts.sections if part.name == ".text" and part.data), None)
    if text is None or text.data is None:
        return {}
    left = _MOST_CODE
    for symbol in parts.symbols.sized():
        at = symbol.address - text.address
        left -= symbol.size if 0 <= at < text.size else 0
        if 0 <= at < text.size and left > 0:
            found[symbol.name] = _normal(text.data[at : at + symbol.size], symbol.address)
    return found


def _data(good: Parts, bad: Parts) -> Iterator[Difference]:
    """Only what has the same size in both: what moved is not changed."""
    if good.elf is None or bad.elf is None:
        ours, others = good.compared, bad.compared
        # Where the code differs already, that has been told.
        if len(ours) == len(others) and ours != others and next(_code(good, bad), None) is None:
            at = _first(ours, others)
            yield Difference("data", f"bytes from 0x{good.base + at:08x} on", _bytes(ours, at), _bytes(others, at))
        return
    theirs = {part.name: part for part in bad.sections}
    for part in good.sections:
        other = theirs.get(part.name)
        if part.name in (".text", ".note.gnu.build-id") or other is None or not part.data or not other.data:
            continue
        if len(part.data) == len(other.data) and part.data != other.data:
            at = _first(part.data, other.data)
            name = good.symbols.at(part.address + at)
            where = f" ({name.name})" if name is not None else ""
            yield Difference(
                "data",
                f"section {part.name} at 0x{part.address + at:08x}{where}",
                _bytes(part.data, at),
                _bytes(other.data, at),
            )


_KINDS: dict[str, Callable[[Parts, Parts], Iterator[Difference]]] = {
    "load": _load,
    "loader": _loader,
    "entry": _entry,
    "sections": _sections,
    "flags": _flags,
    "modules": _modules,
    "code": _code,
    "data": _data,
    "settings": _settings,
}


def _normal(code: bytes, address: int) -> list[str]:
    """Instructions without what only says where something lies."""
    return [text for _, text in _lines(code, address)]


def _lines(code: bytes, address: int) -> list[tuple[int, str]]:
    return [
        (at, _NUMBER.sub("ADDRESS", f"{mnemonic} {operands}".rstrip()))
        for at, _, mnemonic, operands in disassembler(32).disasm_lite(code, address)
    ]


def _first(one: bytes, other: bytes) -> int:
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def _bytes(data: bytes, at: int, size: int = 8) -> str:
    return data[at : at + size].hex(" ") or "nothing"


def _extent(section: Section | None) -> str:
    return "none" if section is None else f"0x{section.address:x}, {section.size:,} bytes"
