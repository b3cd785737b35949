"""`bf recompile --from`: source that was just edited, from inside gdb, where what clang says is shown too."""

from __future__ import annotations

from pathlib import Path

import pytest
from gdb_harness import KERNEL, Gdb
from machines import Boot

SOURCE = Path(__file__).parents[2] / "firmware" / "modules" / "compute.c"


@pytest.fixture
def edited(tmp_path: Path) -> Path:
    """compute.c with another modulus."""
    path = tmp_path / "compute.c"
    path.write_text(SOURCE.read_text().replace("#define MODULUS 1000", "#define MODULUS 999"))
    return path


def test_edited_source_is_fixed_and_gone_on_with(gdb: Gdb, booted: Boot, edited: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.c"
    wrong.write_text("int compute_main(int a, int b) { return a + c; }\n")
    machine = booted()
    result = gdb.run(
        f"bf attach {machine.name}",
        f"bf recompile compute --from {wrong}",
        f"bf recompile compute --from {edited}",
        "bf recompile compute",
        "bf recompile compute --no-verify --passes sora",
        "bf recompile compute --no-verify --passes sroa,instcombine --cpu pentium3",
        f"bf recompile compute --no-verify --keep {tmp_path}/kept",
        f"bf disas compute --source {SOURCE}",
        elf=KERNEL,
    )
    said = result.out + result.err
    assert "wrong.c:1:45: error: use of undeclared identifier 'c'" in said
    assert "clang refuses " in said
    assert "first call  4,490,532 (expected 4,488,500)" in said
    assert "as edited source may" in said
    assert "rejected (differs): the new code differs from compute@O3 #" in said
    assert "sora is not a pass that can be named here; did you mean sroa?" in said
    assert "first call  4,488,500 (as expected)" in said
    assert "laid out for pentium3" in said
    assert f"kept        {tmp_path}/kept/compute.O3.bc, " in said
    assert "compute.c:28  " in said and "    remark  " in said and "\nremarks: " in said
    assert "Traceback" not in said
