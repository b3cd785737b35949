"""What is each character to those who cut text into pieces? For the guest, which has no Unicode tables.

Writes entries of a C array: first character << 2 | kind of it and of those up to the next entry's; kinds: other 0,
letter 1, number 2, space 3.
"""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path

from bareflow_gdb.build import tool
from bareflow_gdb.model.pieces import kind_of

_KINDS = {"o": 0, "L": 1, "N": 2, "s": 3, " ": 3}


def entries() -> list[int]:
    """In the order of characters."""
    every = ((_KINDS[kind_of(chr(code))], code) for code in range(sys.maxunicode + 1))
    found = [next(run)[1] << 2 | kind for kind, run in groupby(every, key=lambda pair: pair[0])]
    return [*found, (sys.maxunicode + 1) << 2]


def text(_: tool.Options) -> str:
    return "".join(f"{entry:#x},\n" for entry in entries())


def main() -> int:
    parser = tool.parser("text_kinds", __doc__ or "")
    parser.add_argument("--output", type=Path, required=True)
    return tool.make("text_kinds", parser.parse_args(), text)


if __name__ == "__main__":
    sys.exit(main())
