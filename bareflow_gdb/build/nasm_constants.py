"""What does assembly code need to know of the ABI headers?

Writes a nasm include file: every `#define` and enum constant of bareflow.h by its own name, every field
offset as `struct.field`, every struct size as `sizeof.struct`. So assembly and C code share one text.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from dissect.cstruct import cstruct

from bareflow_gdb.build import tool

HEADER = Path(__file__).parents[1] / "abi" / "bareflow.h"


def nasm_constants(header_text: str) -> str:
    """The include file for a header in the ABI's subset of C."""
    parser: Any = cstruct(endian="<")
    parser.load(header_text)
    lines = ["; Generated from bareflow_gdb/abi/bareflow.h by bareflow_gdb.build.nasm_constants."]
    lines += [f"%define {name} {value}" for name, value in parser.consts.items() if isinstance(value, int)]
    for name, kind in parser.typedefs.items():
        members = getattr(kind, "__members__", {})
        lines += [f"%define {member} {int(item.value)}" for member, item in members.items()]
        if name.startswith("bf_") and hasattr(kind, "__fields__"):
            lines.append(f"%define sizeof.{name} {len(kind)}")
            lines += [f"%define {name}.{field.name} {field.offset}" for field in kind.__fields__]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = tool.parser("nasm_constants", __doc__)
    parser.add_argument("--output", type=Path, required=True)
    return tool.make(
        "nasm_constants", parser.parse_args(), lambda _: nasm_constants(HEADER.read_text(encoding="utf-8"))
    )


if __name__ == "__main__":
    sys.exit(main())
