"""Does wrapped bitcode load, compile with LLVM, run, and get better while it runs, without a machine?

    python -m bareflow_gdb.build.test_interface --directory build/firmware/modules \\
        --program build/firmware/user/module_test fibonacci:20:0:6765

Each module is called 150 times: compiled at O0, compiled again at each threshold, and run by the kernel's own
module loader as an i686 program. The exit code is 1 when a result is wrong.
"""

from __future__ import annotations

import itertools
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

from bareflow_gdb.build import tool
from bareflow_gdb.build.embed import Module, parse_module
from bareflow_gdb.build.module import link_module
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.recompile.compiler import Compiler
from bareflow_gdb.recompile.wrapped import unwrap

CALLS = 150
THRESHOLDS = (50, 100, 125)
RUN_SECONDS = 60


def run_image(program: Path, image: bytes, module: Module, calls: int) -> list[int]:
    """The results of `calls` calls with the module's default arguments. Raises BareflowError."""
    with tempfile.NamedTemporaryFile(prefix="bareflow-", suffix=".mod") as file:
        file.write(image)
        file.flush()
        ended = subprocess.run(
            [program, file.name],
            input=struct.pack("<ii", *module.arguments) * calls,
            capture_output=True,
            timeout=RUN_SECONDS,
            check=False,
        )
    if ended.returncode != 0 or len(ended.stdout) != 4 * calls:
        said = ended.stdout[:200].decode("ascii", "replace").strip()
        raise BareflowError(f"{program} ended with code {ended.returncode} on {module.name} ({said}); build it again")
    return list(struct.unpack(f"<{calls}i", ended.stdout))


def check_module(compiler: Compiler, program: Path, module: Module, wrapped: bytes) -> bool:
    """Compiles and calls level by level and prints it, as the kernel's adaptive JIT does; True when all is right.

    Raises BareflowError when LLVM, the linker or the program refuse.
    """
    print(f"\n[BITCODE] {module.name}: {len(wrapped)} bytes")
    bitcode, right = unwrap(wrapped), 0
    for level, (begin, end) in enumerate(itertools.pairwise((0, *THRESHOLDS, CALLS))):
        compiled = compiler.compile(bitcode.payload, bitcode.entry, level)
        image = link_module(compiled.data, module.name, bitcode.entry, level)
        right += run_image(program, image, module, end - begin).count(module.expected)
        what = f"[RECOMPILE] {module.name}: O{level - 1} -> O{level}" if level else "[Call 1] Initial execution at O0"
        print(f"{what} ({len(image)} bytes, {sum(compiled.milliseconds.values()):.1f} ms)")
    verdict = "[OK] Test passed!" if right == CALLS else "[FAIL] Test failed!"
    print(f"  Result: {module.expected} in {right} of {CALLS} calls\n  {verdict}")
    return right == CALLS


def main(arguments: list[str] | None = None) -> int:
    parser = tool.parser("test_interface", __doc__)
    parser.add_argument("--directory", type=Path, required=True, help="where NAME.bc.wrapped are")
    parser.add_argument("--program", type=Path, required=True, help="firmware/user's module_test")
    parser.add_argument("modules", nargs="+", metavar="NAME:A:B:EXPECTED")
    return tool.run("test_interface", parser.parse_args(arguments), _check)


def _check(options: tool.Options) -> int:
    print("BITCODE INTERFACE TEST (USERSPACE)")
    passed = 0
    with Compiler() as compiler:
        for module in [parse_module(text) for text in options.modules]:
            wrapped = (options.directory / f"{module.name}.bc.wrapped").read_bytes()
            passed += check_module(compiler, options.program, module, wrapped)
    print(f"\n{passed} of {len(options.modules)} modules passed")
    print("=== ALL BITCODE TESTS COMPLETED ===")
    return int(passed < len(options.modules))


if __name__ == "__main__":
    sys.exit(main())
