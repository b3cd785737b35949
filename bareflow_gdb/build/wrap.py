"""How does LLVM bitcode get the 128-byte header that a BareFlow kernel expects?

python -m bareflow_gdb.build.wrap --input m.bc --output wrapped.bc --name primes --entry primes_main
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from bareflow_gdb.abi import layouts
from bareflow_gdb.build import tool
from bareflow_gdb.build.names import entry_name, module_name
from bareflow_gdb.guest.code.bitcode import LARGEST
from bareflow_gdb.recompile import machine_code
from bareflow_gdb.recompile.compiler import Compiler
from bareflow_gdb.recompile.objects import read_object


def prove(payload: bytes, entry: str) -> tuple[str, ...]:
    """Compiles the payload at every level, as the host will; returns what is rewritten for the guest.

    Raises Refused when a level cannot become a version of a function that starts at `entry`.
    """
    notes: tuple[str, ...] = ()
    with Compiler() as compiler:
        for level in range(layouts.const("BF_LEVELS")):
            made = compiler.compile(payload, entry, level)
            machine_code.check(read_object(made.data), entry)
            notes = made.notes
    return notes


def wrap(
    payload: bytes,
    name: str,
    entry: str,
    level: int = 0,
    version: int = 1,
    tell: Callable[[str], None] = lambda _: None,
) -> bytes:
    """The header and the payload; `tell` gets what is rewritten for the guest.

    Raises UsageError for a name that does not fit, Refused when the payload could not be compiled at every level.
    """
    module_name(name)
    entry_name(entry)
    for note in prove(payload, entry):
        tell(note)
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
    return tool.make("wrap", options, _wrapped)


def _wrapped(options: tool.Options) -> bytes:
    def tell(note: str) -> None:
        print(f"wrap: {options.input}: {note}", file=sys.stderr)

    payload = tool.read_input(options.input, LARGEST)
    return wrap(payload, options.name, options.entry, options.level, options.version, tell)


if __name__ == "__main__":
    sys.exit(main())
