"""Are modules loaded whole or refused, and is what the kernel tells of them true?"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from kernel_view import Kernel, MailHost, returning, text
from machines import SECONDS
from references import REFERENCES

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.qemu.image import SECTOR, RootSettings, image_crc, read_image_header
from bareflow_gdb.qemu.machine import Machine

NAMES = tuple(REFERENCES)
Damage = Callable[[Callable[[bytes], bytes]], Path]


@pytest.fixture(scope="module")
def kernel(idle_machine: Machine) -> Kernel:
    return Kernel(idle_machine)


@pytest.fixture
def damaged_disk(image: Path, firmware: Path, tmp_path: Path) -> Callable[[str, int, bytes], Path]:
    """A boot disk on which some bytes of an embedded module image are others; the kernel's CRC is right."""

    def damage(module: str, at: int, new: bytes) -> Path:
        disk = bytearray(image.read_bytes())
        original = (firmware / "modules" / module).read_bytes()
        start = bytes(disk).index(original)
        disk[start + at : start + at + len(new)] = new
        begin = layouts.const("BF_IMAGE_LBA") * SECTOR
        end = begin + read_image_header(image).image_bytes
        field = begin + layouts.offset("bf_image_header", "crc")
        disk[field : field + 4] = struct.pack("<I", image_crc(bytes(disk[begin:end])))
        path = tmp_path / "damaged.img"
        path.write_bytes(disk)
        return path

    return damage


def test_each_image_in_memory_is_the_built_file(kernel: Kernel, firmware: Path) -> None:
    for name in NAMES:
        record = kernel.module_image(name)
        image = kernel.read(record.image, record.image_size)
        assert image == (firmware / "modules" / f"{name}.O0.mod").read_bytes()
        assert hashlib.sha256(image[:-32]).digest() == image[-32:]
        header = kernel.record("module_header_t", record.image)
        assert (header.magic, text(header.name), header.version) == (0x4D4F4442, name, 2)


def test_the_entry_is_made_absolute(kernel: Kernel) -> None:
    manager = kernel.record("module_manager_t", kernel.root.module_manager)
    assert manager.num_modules == 12
    for index, name in enumerate(NAMES):
        record, profile = kernel.module_image(name), manager.modules[index]
        header = kernel.record("module_header_t", record.image)
        assert record.entry == record.code + header.entry_point - 0x30 == profile.code_ptr
        assert (text(profile.name), profile.loaded, profile.code_size) == (name, 1, record.code_size)


def test_words_that_are_not_relocated_are_the_file_and_the_others_are_addresses(kernel: Kernel) -> None:
    for name in NAMES:
        record = kernel.module_image(name)
        image = kernel.read(record.image, record.image_size)
        header = layouts.unpack("module_header_t", image)
        count = struct.unpack_from("<I", image, 48 + header.code_size + 4)[0]
        words = struct.unpack_from(f"<{count}I", image, 48 + header.code_size + 8)
        bases = (record.code, record.data, record.rodata)
        code = bytearray(image[48 : 48 + record.code_size])
        for word in words:
            at = word & layouts.const("BF_RELOC_OFFSET_MASK")
            if at < record.code_size:
                (value,) = struct.unpack_from("<I", code, at)
                struct.pack_into("<I", code, at, value + bases[word >> layouts.const("BF_RELOC_BASE_SHIFT")])
        assert kernel.read(record.code, record.code_size) == bytes(code)
        # The physics is all in its arguments and its own data; no module is without a word to relocate.
        assert words, f"{name} has absolute references"


@pytest.mark.parametrize(
    ("at", "new", "why"),
    [
        (0x40, b"\xcc", "the SHA-256 does not match"),
        (0, b"XXXX", "Invalid module magic"),
        (44, b"\x03", "unknown header version"),
        (40, b"\xff\xff\x00\x00", "the file is shorter than its header says"),
        (4, b"A" * 32, "the name has no end"),
    ],
)
def test_a_damaged_module_is_refused_with_the_reason_and_the_others_run(
    damaged_disk: Callable[[str, int, bytes], Path], launched: Callable[..., Machine], at: int, new: bytes, why: str
) -> None:
    disk = damaged_disk("compute.O0.mod", at, new)
    machine = launched(disk, with_disk=False, settings=RootSettings(thresholds=(10, 20, 30)))
    wait_for_stage(machine, "idle", SECONDS)
    kernel = Kernel(machine)
    assert f": {why}\n" in kernel.log
    assert "[OK] Loaded 11 modules\n" in kernel.log
    assert "[TEST 3] Compute Module\n  [FAIL] The module is not loaded\n" in kernel.log
    assert list(kernel.functions) == [name for name in NAMES if name != "compute"]
    assert all(function.last_result == function.expected for function in kernel.functions.values())


def test_a_damaged_tier_is_refused_and_the_host_is_asked(
    image: Path, firmware: Path, launched: Callable[..., Machine], tmp_path: Path
) -> None:
    disk = bytearray((firmware / "fat16.img").read_bytes())
    disk[disk.index((firmware / "modules" / "primes.O1.mod").read_bytes()) + 0x40] ^= 0xFF
    damaged = tmp_path / "damaged.img"
    damaged.write_bytes(disk)
    machine = launched(image, disk=damaged, settings=RootSettings(thresholds=(10, 20, 30)))
    wait_for_stage(machine, "idle", SECONDS)
    kernel = Kernel(machine)
    assert "[CACHE] PRIMES.O1 refused: the SHA-256 does not match\n" in kernel.log
    assert "[MAILBOX] primes: request 1 for O1 at " in kernel.log
    published = [v.level for v in kernel.versions("primes") if v.tsc_published]
    assert published == [0, 2, 3]
    host = MailHost(kernel, "primes")
    host.stage(returning(168), level=1)
    done = host.wait_until_done(1)
    assert done.done_reason == layouts.const("BF_REASON_CANCELLED"), "it has better code meanwhile"
    assert kernel.functions["primes"].level == 3


def test_without_a_disk_functions_keep_their_code_but_for_the_micro_jits(
    image: Path, launched: Callable[..., Machine]
) -> None:
    machine = launched(image, with_disk=False, settings=RootSettings(thresholds=(10, 20, 30)))
    wait_for_stage(machine, "idle", SECONDS)
    kernel = Kernel(machine)
    levels = {name: function.level for name, function in kernel.functions.items()}
    assert levels == {name: 1 if name in ("fibonacci", "sum") else 0 for name in NAMES}
    assert "[RECOMPILE] compute: O1 rejected: no bitcode\n" in kernel.log
    assert all(function.last_result == function.expected for function in kernel.functions.values())


def test_the_life_of_a_module_from_load_to_unload(booted: Callable[..., Machine]) -> None:
    kernel = Kernel(booted(scenario=layouts.const("BF_SCENARIO_MODULE_LIFE")))
    assert "[MODULE-TEST] 18 of 18 passed\n" in kernel.log
    probe = len(NAMES)
    told = [event for event in kernel.events() if event.id == probe]
    names = ("MODULE_LOAD", "MODULE_OVERRIDE", "MODULE_UNLOAD")
    types = [layouts.const(f"BF_EVENT_{name}") for name in names]
    life = [event for event in told if event.type in types]
    assert [names[types.index(event.type)] for event in life] == [
        "MODULE_LOAD",
        *("MODULE_OVERRIDE",) * 3,
        *("MODULE_UNLOAD", "MODULE_LOAD", "MODULE_UNLOAD"),
    ]
    assert life[1].arg[0] == life[0].arg[0], "the code that is replaced is the one that was loaded"
    assert life[4].arg[0] == life[3].arg[1], "the code that is freed is the last one"
    manager = kernel.record("module_manager_t", kernel.root.module_manager)
    assert manager.num_modules == len(NAMES)


@pytest.mark.parametrize("name", ["fibonacci", "sum"])
def test_o1_of_these_is_made_by_the_micro_jit(kernel: Kernel, name: str) -> None:
    micro, precompiled = (layouts.const(f"BF_PROVIDER_{p}") for p in ("MICRO_JIT", "PRECOMPILED"))
    assert kernel.functions[name].provider == micro
    providers = [version.provider for version in kernel.versions(name)]
    assert providers == [precompiled, micro, precompiled, precompiled]
    version = kernel.versions(name)[1]
    variable = {"fibonacci": "fibonacci_seed", "sum": "sum_calls"}[name]
    address = kernel.shared_data(name)[variable].address
    code = kernel.read(version.code, version.code_size)
    assert struct.pack("<I", address) in code, "it works on the data that all versions share"


def test_bitcode_of_every_function_was_read_from_disk(kernel: Kernel, firmware: Path) -> None:
    for name, function in kernel.functions.items():
        wrapped = (firmware / "modules" / f"{name}.bc.wrapped").read_bytes()
        assert kernel.read(function.bitcode, function.bitcode_size) == wrapped


@pytest.mark.parametrize(
    ("at", "new", "why"),
    [
        (0, b"X", "Invalid bitcode magic"),
        (36, b"\0", "the entry's name is empty or has no end"),
        (100, b"\0\0\0\0", "the payload must have 1 byte to 1 MiB"),
        (100, b"\xff\xff\x0f\0", "the file is shorter than its header says"),
        (128, b"XXXX", "no LLVM bitcode (42 43 C0 DE) behind the header"),
        (124, b"BC\xc0\xde", "the payload begins before byte 128: the header is an old, shorter one"),
    ],
)
def test_damaged_bitcode_is_refused_and_the_function_has_none(
    image: Path, firmware: Path, launched: Callable[..., Machine], tmp_path: Path, at: int, new: bytes, why: str
) -> None:
    disk = bytearray((firmware / "fat16.img").read_bytes())
    start = disk.index((firmware / "modules" / "sum.bc.wrapped").read_bytes()) + at
    disk[start : start + len(new)] = new
    damaged = tmp_path / "damaged.img"
    damaged.write_bytes(disk)
    machine = launched(image, disk=damaged, settings=RootSettings(thresholds=(10, 20, 30), hold=1))
    wait_for_stage(machine, "registered", SECONDS)
    kernel = Kernel(machine)
    assert f"[BITCODE] SUM.BC refused: {why}\n" in kernel.log
    assert kernel.functions["sum"].bitcode == 0
    assert kernel.functions["fibonacci"].bitcode != 0
