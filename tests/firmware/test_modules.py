"""Are modules loaded whole or refused, and is what the kernel tells of them true?"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from kernel_view import Kernel, text
from references import REFERENCES

from bareflow_gdb.abi import layouts
from bareflow_gdb.qemu.image import SECTOR, image_crc, read_image_header
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
    damaged_disk: Callable[[str, int, bytes], Path],
    launched: Callable[..., Machine],
    at: int,
    new: bytes,
    why: str,
) -> None:
    machine = launched(damaged_disk("compute.O0.mod", at, new))
    machine.wait_for_stage("idle", 120)
    kernel = Kernel(machine)
    assert f": {why}\n" in kernel.log
    assert "[OK] Loaded 11 modules\n" in kernel.log
    assert "[TEST 3] Compute Module\n  [FAIL] The module is not loaded\n" in kernel.log
    assert list(kernel.functions) == [name for name in NAMES if name != "compute"]
    assert all(function.level == 3 for function in kernel.functions.values())


def test_a_damaged_tier_is_refused_and_the_function_keeps_its_code(
    damaged_disk: Callable[[str, int, bytes], Path], launched: Callable[..., Machine]
) -> None:
    machine = launched(damaged_disk("primes.O1.mod", 0x40, b"\xcc"))
    machine.wait_for_stage("idle", 120)
    kernel = Kernel(machine)
    assert "[RECOMPILE] primes: O1 refused: the SHA-256 does not match\n" in kernel.log
    assert [version.level for version in kernel.versions("primes")] == [0, 2, 3]
    (told,) = kernel.events_of("REJECT")
    assert (told.id, told.arg[0]) == (kernel.index("primes"), layouts.const("BF_REASON_LINK_FAILED"))
