"""Are the four tiers of each function really compiled, do they compute, and do they agree?

Their code is read out of guest RAM and run by unicorn, with the module's data and the rest of the pools.
"""

from __future__ import annotations

import itertools
import random
import struct
from typing import Any

import capstone
import pytest
from kernel_view import Kernel
from references import REFERENCES, sha256_digest
from unicorn import UC_ARCH_X86, UC_MODE_32, Uc
from unicorn.x86_const import (
    UC_X86_REG_EAX,
    UC_X86_REG_EBP,
    UC_X86_REG_EBX,
    UC_X86_REG_EDI,
    UC_X86_REG_ESI,
    UC_X86_REG_ESP,
)

from bareflow_gdb.abi import layouts
from bareflow_gdb.qemu.machine import Machine

FUNCTIONS = tuple(REFERENCES)
CALLEE_SAVED = {UC_X86_REG_EBX: 0xB, UC_X86_REG_ESI: 0x51, UC_X86_REG_EDI: 0xD1, UC_X86_REG_EBP: 0x9000}
STACK, RETURN = 0x00080000, 0x00300000


@pytest.fixture(scope="module")
def kernel(idle_machine: Machine) -> Kernel:
    return Kernel(idle_machine)


class Runner:
    """Calls code of the guest on the host, over a copy of the guest's pools."""

    def __init__(self, kernel: Kernel) -> None:
        base = layouts.const("BF_POOL_CODE_BASE")
        end = layouts.const("BF_POOL_METADATA_BASE")
        self.engine = Uc(UC_ARCH_X86, UC_MODE_32)
        self.engine.mem_map(base, end - base)
        self.engine.mem_write(base, kernel.read(base, end - base))
        self.engine.mem_map(STACK, 0x10000)
        self.engine.mem_map(RETURN, 0x1000)

    def call(self, entry: int, a: int, b: int) -> int:
        top = STACK + 0xF000
        self.engine.mem_write(top, struct.pack("<Iii", RETURN, a, b))
        self.engine.reg_write(UC_X86_REG_ESP, top)
        for register, value in CALLEE_SAVED.items():
            self.engine.reg_write(register, value)
        self.engine.emu_start(entry, RETURN)
        kept = {register: self.engine.reg_read(register) for register in CALLEE_SAVED}
        assert kept == CALLEE_SAVED, "callee-saved registers must be kept"
        assert self.engine.reg_read(UC_X86_REG_ESP) == top + 4
        result: int = self.engine.reg_read(UC_X86_REG_EAX)
        return result - (1 << 32) if result >= 1 << 31 else result


# The integer functions: unicorn's x87 is wrong. test_user_space.py runs those with floating point.
RANGES = {
    "fibonacci": ((-3, 60), (-1000, 1000)),
    "sum": ((-200, 200), (-200, 200)),
    "compute": ((-2, 40), (-2, 40)),
    "primes": ((-10, 2200), (-10, 2200)),
    "sha256": ((-1, 200), (-1000, 1000)),
    "matrix_mul": ((-1, 18), (0, 1000)),
    "quicksort": ((-1, 130), (-1000, 1000)),
    "strops": ((-1, 60), (0, 1000)),
    "regex_dfa": ((-1, 600), (-1000, 1000)),
}


def tiers(kernel: Kernel, name: str) -> list[Any]:
    """The function's versions O0, O1, O2, O3."""
    found = kernel.versions(name)
    assert [version.level for version in found] == [0, 1, 2, 3]
    return found


def code(kernel: Kernel, version: Any) -> bytes:
    return kernel.read(version.code, version.code_size)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_o0_o1_and_o3_differ_in_bytes(kernel: Kernel, name: str) -> None:
    o0, o1, _, o3 = (code(kernel, version) for version in tiers(kernel, name))
    assert len({o0, o1, o3}) == 3


@pytest.mark.parametrize("name", FUNCTIONS)
def test_where_two_tiers_are_equal_the_table_and_the_log_say_so(kernel: Kernel, name: str) -> None:
    versions = tiers(kernel, name)
    for version in versions:
        line = f"[RECOMPILE] {name}: O{version.level} code equals O"
        older = [v for v in versions if v.number < version.number]
        assert version.same_as == 0 or version.same_as in [v.number for v in older]
        assert (line in kernel.log) == (version.same_as != 0)
        if version.rodata_size == 0:
            equal = [v.number for v in older if code(kernel, v) == code(kernel, version)]
            assert version.same_as == (equal[0] if equal else 0)


def test_tiers_equal_but_for_the_place_of_their_rodata_count_as_equal(kernel: Kernel) -> None:
    versions = tiers(kernel, "compute")
    o1, o2 = versions[1], versions[2]
    assert o2.same_as == o1.number and o1.rodata != o2.rodata
    assert code(kernel, o1) != code(kernel, o2), "each points at its own read-only data"
    assert kernel.read(o1.rodata, o1.rodata_size) == kernel.read(o2.rodata, o2.rodata_size)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_tier_keeps_an_ebp_frame_and_its_loop(kernel: Kernel, name: str) -> None:
    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_32)
    for version in tiers(kernel, name):
        found = list(decoder.disasm(code(kernel, version), version.code))
        entry = [i for i in found if i.address >= version.entry][:2]
        assert [f"{i.mnemonic} {i.op_str}" for i in entry] == ["push ebp", "mov ebp, esp"]
        back = [
            i for i in found if i.mnemonic.startswith("j") and i.op_str < f"0x{i.address:x}" and "[" not in i.op_str
        ]
        assert back, f"O{version.level} of {name} has no loop: its result was folded"


@pytest.mark.parametrize("name", RANGES)
def test_the_four_tiers_agree_with_python_on_1000_inputs(kernel: Kernel, name: str) -> None:
    runner = Runner(kernel)
    entries = [version.entry for version in tiers(kernel, name)]
    function = kernel.functions[name]
    generator = random.Random(name)
    (low_a, high_a), (low_b, high_b) = RANGES[name]
    inputs = [(function.arguments[0], function.arguments[1]), (0, 0), (1, 0), (2, 1)]
    while len(inputs) < 1000:
        inputs.append((generator.randint(low_a, high_a), generator.randint(low_b, high_b)))
    for a, b in inputs:
        expected = REFERENCES[name](a, b)
        assert [runner.call(entry, a, b) for entry in entries] == [expected] * 4, (name, a, b)
    assert REFERENCES[name](*inputs[0]) == function.expected


def test_sha256_leaves_the_standard_digest_in_its_data(kernel: Kernel) -> None:
    digest = kernel.shared_data("sha256")["sha256_digest"]
    assert kernel.read(digest.address, digest.size) == sha256_digest(1024, 1)


def test_all_tiers_share_one_copy_of_the_data(kernel: Kernel) -> None:
    calls = kernel.shared_data("sum")["sum_calls"]
    assert calls.size == 4
    (counted,) = struct.unpack("<I", kernel.read(calls.address, 4))
    assert counted == kernel.profile("sum").call_count + 1, "every call of every tier, and the module's test"


def test_the_shared_data_lies_in_the_modules_data_area(kernel: Kernel) -> None:
    expected = {
        "fibonacci": {"fibonacci_seed": 8},
        "sum": {"sum_calls": 4},
        "compute": {},
        "primes": {"primes_sieve": 1024},
        "sha256": {"sha256_digest": 32, "sha256_message": 1152},
        "quicksort": {"quicksort_state": 4, "quicksort_values": 512},
    }
    for name in expected:
        symbols, image = kernel.shared_data(name), kernel.module_image(name)
        assert {symbol: record.size for symbol, record in symbols.items()} == expected[name]
        for record in symbols.values():
            assert image.data <= record.address
            assert record.address + record.size <= image.data + image.data_size
    seeds = kernel.shared_data("fibonacci")["fibonacci_seed"].address
    assert struct.unpack("<II", kernel.read(seeds, 8)) == (0, 1)


def test_each_tier_has_its_own_buffer(kernel: Kernel) -> None:
    spans = sorted((v.code, v.code + v.code_size) for v in kernel.versions())
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
