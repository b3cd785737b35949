"""What LLVM said of a version stands beside its code and source; its work files are kept where somebody wants them."""

from __future__ import annotations

import re
from pathlib import Path

from guest_code import MODULES
from machines import Asked

from bareflow_gdb.guest.code.symbol_index import FOLDER
from bareflow_gdb.qemu.machine import Machine


def test_remarks_stand_at_the_line_and_the_instructions_that_they_are_about(asked: Asked, tmp_path: Path) -> None:
    kept = tmp_path / "new" / "kept"
    code, said = asked("recompile", "matrix_mul", "--keep", kept)
    assert code == 0 and re.search(r"^  remarks     1 inlined, .*; slowest pass \w+, ", said, re.MULTILINE), said
    assert (kept / "matrix_mul.O3.bc").read_bytes().startswith(b"BC")
    assert (kept / "matrix_mul.O3.o").read_bytes().startswith(b"\x7fELF")
    assert "'dot' inlined into 'matrix_mul_main'" in (kept / "matrix_mul.O3.remarks").read_text()
    assert "InstCombinePass" in (kept / "matrix_mul.O3.passes").read_text()
    code, said = asked("disas", "matrix_mul", "--source", MODULES / "matrix_mul.c")
    text = (MODULES / "matrix_mul.c").read_text().splitlines()
    line = next(number for number, words in enumerate(text, 1) if "+= dot(" in words or "= dot(" in words)
    assert code == 0 and f"\nmatrix_mul.c:{line}  " in said
    assert re.search(r"\n    remark  'dot' inlined into 'matrix_mul_main'|matrix_mul.c:\d+  remark  'dot'", said)
    assert "passes, ms: " in said and "no loop is vectorised: the guest's CPU has no vector registers" in said
    code, plain = asked("disas", "matrix_mul", "--remarks")
    assert f"\nmatrix_mul.c:{line}\n" in plain, "without the file its text is not looked for"


def test_what_has_no_remarks_says_so(idle_machine: Machine, asked: Asked) -> None:
    assert (
        "no remarks are kept of version 18, which `recompile` and `serve` did not make"
        in asked("disas", "sum", "--remarks")[1]
    )
    assert "name a function" in asked("disas", "0x10000", "--remarks")[1]
    assert "leave --diff out" in asked("disas", "sum", "--remarks", "--diff", "O0", "O3")[1]
    assert asked("recompile", "sum")[0] == 0
    (newest,) = sorted((idle_machine.directory / FOLDER).glob("v*.json"), key=lambda path: int(path.stem[1:]))[-1:]
    newest.write_text("no")
    assert "is damaged" in asked("disas", "sum", "--remarks")[1]
