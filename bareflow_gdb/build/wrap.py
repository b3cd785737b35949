"""How does LLVM bitcode get the 128-byte header that a BareFlow kernel expects?

python -m bareflow_gdb.build.wrap --input m.bc --output wrapped.bc --name primes --entry primes_main
"""

from __future__ import annotations

import sys
from pathlib import Path

from bareflow_gdb.abi import layouts
from bareflow_gdb.build import tool
from bareflow_gdb.errors import UsageError
from bareflow_gdb.recompile import ir


def wrap(payload: bytes, name: str, entry: str, level: int = 0, version: int = 1) -> bytes:
    """The header and the payload; raises BadBitcode when the payload could not be compiled at every level."""
    for text, limit in ((name, 31), (entry, 63)):
        if not text.isidentifier() or len(text.encode()) > limit:
            raise UsageError(f"{text!r} is not a name of at most {limit} bytes; choose another")
    ir.check(ir.parse(payload), entry)
    header = layouts.pack(
        "bitcode_header_t",
        magic=layouts.const("BITCODE_MAGIC"),
        module_name=name.encode(),
        entry_name=entry.encode(),
        bitcode_size=len(payload),
        version=version,
        opt_level=level,
    )
    return header + payload


def main(arguments: list[str] | None = None) -> int:
    parser = tool.parser("wrap", __doc__)
    parser.add_argument("--input", type=Path, required=True, help="LLVM bitcode (clang -emit-llvm -c)")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--name", required=True, help="the module's name")
    parser.add_argument("--entry", required=True, help="its entry function")
    parser.add_argument("--level", type=int, choices=range(4), default=0, help="level of the bitcode itself")
    parser.add_argument("--version", type=int, default=1)
    options = parser.parse_args(arguments)
    return tool.make(
        "wrap",
        options,
        lambda given: wrap(given.input.read_bytes(), given.name, given.entry, given.level, given.version),
    )


if __name__ == "__main__":
    sys.exit(main())
