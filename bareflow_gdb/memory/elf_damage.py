"""What does pyelftools raise for a file that is no ELF file, or a damaged one?"""

from __future__ import annotations

import struct
import zlib


def elf_damage() -> tuple[type[Exception], ...]:
    """For `except`: its own errors, and those of its parts that believe what the file says."""
    # Not at the top: gdb imports this file, and few commands need pyelftools.
    from elftools.common.exceptions import ELFError
    from elftools.construct import ConstructError

    believed = (ValueError, LookupError, TypeError, AttributeError, AssertionError, ArithmeticError, RecursionError)
    return (ELFError, ConstructError, struct.error, zlib.error, EOFError, OSError, *believed)
