"""What may a text from outside become? The gate for names of guests, traces, images, bitcode, objects and stubs.

A name goes through one of these before it is shown, offered, or put into a command or a file for a debugger.
None of them raises: what could do harm becomes `?` or is quoted. HTML has its own gate, render/report/markup.py;
files are never named by such a name.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable

# No dash in front, which were an option; no number, which were an address.
_PLAIN = re.compile(r"(?!-|0[bBoOxX]|\d+$)[A-Za-z0-9_./+~-]+(?<!~)")
_UNQUOTED = re.compile(r"([^A-Za-z0-9_./+:=,@-])")
_NO_SYMBOL = re.compile(r"[^A-Za-z0-9_.@$]")
# What a terminal obeys, as ECMA-48 writes it: a string up to its end (a window's title), a control sequence, also one
# that a log ends in, and the short ones.
_SEQUENCE = re.compile(
    rb"\x1b[PX\]^_][^\x07\x1b\r\n]{0,4096}(?:\x07|\x1b\\)|\x1b\[[0-?]*[ -/]*(?:[@-~]|\Z)|\x1b[ -/]*[0-~]"
)
# The beginning of a sequence, or of a line's end, whose rest has not come yet.
_BEGUN = re.compile(rb"(?:\x1b(?:[PX\]^_][^\x07\x1b\r\n]{0,4096}\x1b?|\[[0-?]*[ -/]*|[ -/]*)|\r+)\Z")
_LINE_END = re.compile(rb"\r+\n|\n\r(?!\n)|\r")
_STYLE = re.compile(r"(\x1b\[[\d;]*m)")


def ascii_of(raw: Iterable[int], keep: Container[int] = ()) -> str:
    """Bytes as text; anything but printable ASCII and what is in `keep` is shown as `?`."""
    return "".join(chr(byte) if 0x20 <= byte < 0x7F or byte in keep else "?" for byte in raw)


def clean(raw: bytes) -> str:
    """The same of a name in a field of fixed size: up to the first NUL."""
    return ascii_of(raw.split(b"\0", 1)[0])


def lines_of(raw: bytes) -> str:
    """The same of guest output, with its tabs and line ends."""
    return ascii_of(raw.replace(b"\r\n", b"\n"), keep=b"\t\n")


def console_of(raw: bytes) -> str:
    """The same of what a console logged: without the sequences that move its cursor or colour it, without NULs, with
    one kind of line end."""
    return lines_of(_LINE_END.sub(b"\n", _SEQUENCE.sub(b"", raw.replace(b"\0", b""))))


def console_begun(raw: bytes) -> int:
    """How many bytes at the end of a log that grows begin something, and are shown with what comes next?"""
    begun = _BEGUN.search(raw)
    return len(begun[0]) if begun else 0


def printable(text: str, keep: Container[str] = "") -> str:
    """For a terminal: no control characters, nothing that turns the writing direction, no broken UTF-8."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else "?" for c in text)


def lines(text: str) -> str:
    """The same of a text with lines and tabs."""
    return printable(text, keep="\n\t")


def sentence(text: str) -> str:
    """The same on one line, as an error is."""
    return printable(" ".join(text.split()))


def styled(text: str) -> str:
    """The same of lines that have colours of our own, which stay."""
    return "".join(part if _STYLE.fullmatch(part) else lines(part) for part in _STYLE.split(text))


def is_plain(name: str) -> bool:
    """Does it come back as it is from a line in gdb or in a shell? Only then may it be completed."""
    return _PLAIN.fullmatch(name) is not None


def gdb_name(name: str) -> str:
    """For a symbol that gdb gets, or a format string: nothing that is more than a name in an expression."""
    return _NO_SYMBOL.sub("?", name)


def gdb_word(text: str) -> str:
    """As one word of a gdb command, whatever it contains; a line end cannot be written there."""
    return _UNQUOTED.sub(r"\\\1", printable(text))


def switch(value: bool) -> str:
    """As the value of one of gdb's settings."""
    return "on" if value else "off"
