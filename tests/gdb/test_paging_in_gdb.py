"""gdb at a kernel with paging: records are read physically, code linearly, and gdb's own reads stay as they are."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from foreign_kernels import HIGHER_HALF, LONG_MODE
from gdb_harness import Gdb
from machines import Assemble, wait_for

from bareflow_gdb.memory.gdbstub import GdbStub
from bareflow_gdb.memory.listeners import behind

KERNELS = {"qemu-system-i386": (HIGHER_HALF, "EIP=c0007c"), "qemu-system-x86_64": (LONG_MODE, "RIP=ffffffff80007c")}


@pytest.fixture
def stub(request: pytest.FixtureRequest, boot_sector: Assemble, tmp_path: Path) -> Iterator[Path]:
    """The gdbstub of a QEMU that others started, whose kernel is where it wants to be."""
    code, there = KERNELS[request.param]
    path = tmp_path / "stub"
    words = ["-display", "none", "-drive", f"file={boot_sector(code)},format=raw,snapshot=on"]
    process = subprocess.Popen([request.param, *words, "-gdb", f"unix:{path},server=on,wait=off"])

    def up() -> bool:
        with GdbStub.connect(f"unix:{path}") as connection:
            return there in connection.monitor("info registers")

    try:
        wait_for(lambda: behind(f"unix:{path}") == process.pid, "QEMU to listen")
        wait_for(up, there)
        yield path
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("stub", ["qemu-system-i386"], indirect=True)
def test_every_question_answers_in_the_higher_half(gdb: Gdb, stub: Path) -> None:
    result = gdb.run(
        f"target remote {stub}",
        "bf status",
        "bf step-boot 2",
        "bf disas $pc",
        "bf identify $pc",
        "bf stack",
        "bf cpu",
        "x/2xb 0xc0007dfe",
        "x/2xb 0x7dfe",
    )
    assert "there is no boot record at 0x00000600" in result.out
    assert "problem: paging is on" in result.out
    assert re.search(r"^=> protected 32-bit  c0007c\w\w   0xc0007c\w\w  [0-9a-f]+ +\w+", result.out, re.MULTILINE)
    assert "not RAM" not in result.out
    assert re.search(r"is linear, 0x00007c\w\w physical", result.out)
    assert re.search(r"^  0 .* 0xc0007c\w\w  .*physical 0x00007c", result.out, re.MULTILINE)
    assert "IDT at" not in result.out.partition("CPU\n")[2].partition("GDT")[2]
    # gdb itself reads by linear addresses, as before.
    assert re.search(r"0xc0007dfe:\s+0x55\s+0xaa", result.out)
    assert "Cannot access memory at address 0x7dfe" in result.err


@pytest.mark.parametrize("stub", ["qemu-system-x86_64"], indirect=True)
def test_64_bit_mode_is_named_and_its_addresses_are_not_cut(gdb: Gdb, stub: Path) -> None:
    result = gdb.run(f"target remote {stub}", "bf status", "bf disas $pc", "bf identify $pc", "bf stack")
    assert "the CPU is in 64-bit mode" in result.out
    assert len(re.findall(r"0xffffffff80007c\w\w has more than 32 bits", result.err)) == 2
    assert re.search(r"bf stack: .*the CPU is in 64-bit mode", result.err)


@pytest.mark.parametrize("stub", ["qemu-system-i386"], indirect=True)
def test_an_address_means_what_it_means_in_32_bits(gdb: Gdb, stub: Path) -> None:
    said = gdb.run(
        f"target remote {stub}",
        "bf identify -1",
        "bf identify ~0x0f",
        "bf identify $esp - 4",
        "bf identify 0x100000000",
        "bf identify 0xffffffff + 1",
    )
    for unmapped in ("0xffffffff", "0xfffffff0"):
        assert f"no page is at {unmapped}" in said.err
    assert re.search(r"^0xc000\w{4}$", said.out, re.MULTILINE)
    assert said.err.count("0x100000000 has more than 32 bits") == 2
