"""What of a compiled object may a debugger read? The sections that tell names, types and lines; nothing that it obeys.

The object was made from the guest's bitcode: a section of it can be a script for gdb (`.debug_gdb_scripts`), macros
that stand for calls (`.debug_macro`), the name of another file (`.gnu_debuglink`). Sizes stay as they are, so that
offsets between sections do.
"""

from __future__ import annotations

import re

# What LLVM writes for code with DWARF 2 to 5 (DWARF 5, chapter 7), less macros, scripts and indices.
_KINDS = "abbrev addr aranges frame info line line_str loc loclists ranges rnglists str str_offsets types"
DEBUG_SECTIONS = frozenset(f".debug_{kind}" for kind in _KINDS.split())
_PLACED = re.compile(r"\.(text|rodata|data|bss|eh_frame)(\..*)?")
_STRINGS = (".debug_str", ".debug_line_str", ".strtab", ".shstrtab")
_FORM_STRING, _FORM_IMPLICIT_CONST = 0x08, 0x21
_LAST_INLINE = 4
"""The last version of a line table whose file names stand in it."""


def is_known(name: str, debug: frozenset[str] = DEBUG_SECTIONS) -> bool:
    """May a debugger get this section, of the debug sections only these?"""
    bare = name.removeprefix(".rel")
    return bare in debug or _PLACED.fullmatch(bare) is not None


def readable(abbreviations: bytes) -> frozenset[str]:
    """The debug sections that may be read with this `.debug_abbrev`: none when it has strings among its numbers.

    LLVM keeps all strings in sections of their own, which `cleaned` can clean; other forms are somebody's assembly.
    """
    return frozenset() if _has_inline_strings(abbreviations) else DEBUG_SECTIONS


def _has_inline_strings(data: bytes) -> bool:
    """DWARF 5, section 7.5.3: code, tag, children, then pairs of attribute and form up to 0, 0."""
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        if number() == 0:
            continue
        number()
        at += 1
        while (pair := (number(), number())) != (0, 0):
            if pair[1] == _FORM_STRING:
                return True
            if pair[1] == _FORM_IMPLICIT_CONST:
                number()
    return False


def cleaned(name: str, data: bytes) -> bytes:
    """A debug section with harmless strings; raises ValueError or IndexError when it cannot be right."""
    if name in _STRINGS:
        return b"\0".join(map(harmless, data.split(b"\0")))
    return _line_table(data) if name == ".debug_line" else data


def harmless(text: bytes) -> bytes:
    """A string of the same length: no control characters, and no call of one of gdb's functions, `$_shell("…")`.

    gdb completes names in its own commands, which take expressions.
    """
    try:
        fine = text.decode().isprintable()
    except UnicodeDecodeError:
        fine = False
    if not fine:
        text = re.sub(rb"[^ -~]", b"?", text)
    return text.replace(b"$", b"?") if b"(" in text else text


def _line_table(data: bytes) -> bytes:
    """With the names of its directories and files (DWARF 4, section 6.2.4)."""
    made = bytearray(data)
    at = 0
    while at + 4 <= len(data):
        size, start, offset_bytes = int.from_bytes(data[at : at + 4], "little"), at + 4, 4
        if size == 0xFFFFFFFF:
            size, start, offset_bytes = int.from_bytes(data[at + 4 : at + 12], "little"), at + 12, 8
        version = int.from_bytes(data[start : start + 2], "little")
        if version <= _LAST_INLINE:
            # After it: instruction length, in version 4 operations of each, default, line base and range.
            opcodes = start + 2 + offset_bytes + (5 if version == _LAST_INLINE else 4)
            _names(made, opcodes + data[opcodes])
        at = start + size
    return bytes(made)


def _names(made: bytearray, at: int) -> None:
    """Cleans the list of directories that begins at `at`, and that of files after it."""
    for numbers in (0, 3):
        while made[at]:
            end = made.index(0, at)
            made[at:end] = harmless(bytes(made[at:end]))
            at = end + 1
            for _ in range(numbers):
                while made[at] & 0x80:
                    at += 1
                at += 1
        at += 1
