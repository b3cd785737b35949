"""How do the suite and its LLVM worker talk? Frames over pipes: two lengths, a JSON head, a binary body.

What compiles hostile bitcode may send anything: a frame's sizes are checked before memory is taken for it.
"""

from __future__ import annotations

import json
import struct
from typing import Any, BinaryIO

HEAD_BYTES = 64 << 10
BODY_BYTES = 4 << 20
"""Bitcode that is asked for, or the object that is made of it, with its DWARF; the guest takes 32 KiB of code."""
_LENGTHS = struct.Struct("<II")

Frame = tuple[dict[str, Any], bytes]


class BadFrame(ValueError):
    """What came is no frame."""


def encode(head: dict[str, Any], body: bytes = b"") -> bytes:
    """A frame."""
    text = json.dumps(head).encode()
    return _LENGTHS.pack(len(text), len(body)) + text + body


def take_frame(received: bytearray) -> Frame | None:
    """The frame at the beginning of `received`, which it leaves; None: not whole yet. Raises BadFrame."""
    if len(received) < _LENGTHS.size:
        return None
    head_size, body_size = _sizes(received[: _LENGTHS.size])
    start = _LENGTHS.size + head_size
    if len(received) < start + body_size:
        return None
    head, body = bytes(received[_LENGTHS.size : start]), bytes(received[start : start + body_size])
    del received[: start + body_size]
    return _frame(head, body)


def read_frame(stream: BinaryIO) -> Frame | None:
    """The next frame, or None at the end of the stream (also in the middle of a frame). Raises BadFrame."""
    lengths = stream.read(_LENGTHS.size)
    if len(lengths) < _LENGTHS.size:
        return None
    head_size, body_size = _sizes(lengths)
    head, body = stream.read(head_size), stream.read(body_size)
    if len(head) < head_size or len(body) < body_size:
        return None
    return _frame(head, body)


def _sizes(lengths: bytes | bytearray) -> tuple[int, int]:
    head_size, body_size = _LENGTHS.unpack(lengths)
    if head_size > HEAD_BYTES or body_size > BODY_BYTES:
        raise BadFrame(f"a frame of {head_size + body_size:,} bytes")
    return head_size, body_size


def _frame(head: bytes, body: bytes) -> Frame:
    try:
        words = json.loads(head)
    except (ValueError, RecursionError) as error:
        raise BadFrame("a frame whose head is not JSON") from error
    if not isinstance(words, dict):
        raise BadFrame("a frame whose head is not an object")
    return words, body
