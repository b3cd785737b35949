"""The layouts read from the C headers: against the sizes that the field gives, and against clang."""

from __future__ import annotations

import random
import subprocess
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData, UsageError

ABI = Path(layouts.__file__).parent

# bareflow-facts: measured on kernels in the field.
MEASURED = {
    "module_header_t": 48,
    "module_profile_t": 84,
    "module_manager_t": 1356,
    "function_profile_t": 52,
    "function_profiler_t": 6672,
    "jit_function_entry_t": 48,
    "adaptive_jit_t": 8216,
    "block_header_t": 16,
    "memory_pool_t": 44,
    "fat16_boot_sector_t": 62,
    "fat16_dir_entry_t": 32,
    "fat16_fs_t": 604,
    "jit_profile_entry_t": 76,
    "jit_profile_t": 2436,
    "bitcode_header_t": 128,
    "bf_mail_slot": 128,
    "bf_event": 32,
    "bf_image_header": 32,
}


@pytest.mark.parametrize(("name", "size"), MEASURED.items())
def test_sizes_are_those_measured_in_the_field(name: str, size: int) -> None:
    assert layouts.size(name) == size


def test_offsets_of_the_stock_layouts_are_those_measured_in_the_field() -> None:
    assert layouts.offset("module_profile_t", "sum_of_squares") == 68
    assert layouts.offset("adaptive_jit_t", "functions") == 6672
    assert layouts.offset("jit_function_entry_t", "current_code") == 20
    assert layouts.offset("jit_function_entry_t", "jit_ctx.code_capacity") == 32
    assert layouts.offset("function_profiler_t", "total_calls") == 6660
    assert layouts.offset("fat16_fs_t", "fat_cache") == 596


def test_every_offset_is_the_one_that_clang_gives_the_firmware(tmp_path: Path) -> None:
    """clang compiles a table of sizeof and offsetof for i686; the object's data section is compared."""
    wanted: list[tuple[str, int]] = []
    lines: list[str] = []
    for name in layouts.structs():
        word = name if name.endswith("_t") else f"struct {name}"
        lines.append(f"sizeof({word})")
        wanted.append((name, layouts.size(name)))
        for member in layouts.field_names(name):
            lines.append(f"__builtin_offsetof({word}, {member})")
            wanted.append((f"{name}.{member}", layouts.offset(name, member)))
    source = tmp_path / "offsets.c"
    source.write_text(
        "#include <stdint.h>\n"
        '#include "stock_kernel.h"\n#include "stock_unikernel.h"\n'
        '#pragma pack(push, 1)\n#include "fat16.h"\n#pragma pack(pop)\n#include "bareflow.h"\n#include "model.h"\n'
        f"const uint32_t table[] = {{ {', '.join(lines)} }};\n"
    )
    compiled, raw = tmp_path / "offsets.o", tmp_path / "offsets.bin"
    clang = ["clang-19", "--target=i686-unknown-none-elf", "-ffreestanding", "-c", f"-I{ABI}"]
    subprocess.run([*clang, str(source), "-o", str(compiled)], check=True)
    subprocess.run(["llvm-objcopy-19", "-O", "binary", "-j", ".rodata", str(compiled), str(raw)], check=True)
    data = raw.read_bytes()
    table = [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]
    assert len(table) == len(wanted) > 300
    assert [(name, value) for (name, _), value in zip(wanted, table, strict=True)] == wanted


def test_constants_come_from_defines_and_enums() -> None:
    assert layouts.const("BF_IMAGE_BASE") == 0x10000
    assert layouts.const("BF_MAIL_READY") == 3
    assert layouts.enum_name("bf_boot_stage", 9) == "BF_STAGE_CORE"
    assert layouts.enum_values("bf_fatal")["BF_FATAL_VERIFY"] == 0xD2


def test_an_unknown_enum_value_is_named_as_such() -> None:
    assert layouts.enum_name("bf_boot_stage", 4711) == "unknown(4711)"


@pytest.mark.parametrize(
    "ask",
    [
        lambda: layouts.size("no_such"),
        lambda: layouts.size("uint32_t"),
        lambda: layouts.offset("bf_root", "no_such"),
        lambda: layouts.offset("bf_root", "size.no_such"),
        lambda: layouts.field_size("bf_root", "no_such"),
        lambda: layouts.const("NO_SUCH"),
        lambda: layouts.enum_name("no_such", 1),
        lambda: layouts.pack("bf_root", no_such=1),
        lambda: layouts.pack("bf_mail_slot", state=1 << 32),
    ],
)
def test_asking_for_what_the_headers_do_not_have_is_an_error_of_the_suite(ask: Any) -> None:
    with pytest.raises(UsageError):
        ask()


def test_too_few_bytes_are_bad_data() -> None:
    with pytest.raises(BadData, match="needs 32 bytes, there are 31"):
        layouts.unpack("bf_event", bytes(31))
    with pytest.raises(BadData, match="the source is truncated"):
        layouts.unpack_array("bf_event", bytes(63), 2)


def test_arrays_of_bytes_are_bytes_and_other_arrays_tuples() -> None:
    root = layouts.unpack("bf_root", bytes(range(216)).ljust(layouts.size("bf_root"), b"\0"))
    assert root.magic == (0x03020100, 0x07060504, 0x0B0A0908, 0x0F0E0D0C)
    at = layouts.offset("bf_root", "build_id")
    assert root.build_id == bytes(range(at, at + 20))


def test_nested_records_keep_their_place() -> None:
    data = layouts.pack("bf_mail_slot", state=3, code={"offset": 7, "crc": 9}, rodata={"address": 11})
    slot = layouts.unpack("bf_mail_slot", data)
    assert (slot.state, slot.code.offset, slot.code.crc, slot.rodata.address) == (3, 7, 9, 11)
    at = layouts.offset("bf_mail_slot", "rodata.address")
    assert data[at] == 11


def test_an_array_without_a_count_takes_the_whole_records() -> None:
    data = b"".join(layouts.pack("bf_event", seq=number) for number in range(5)) + b"half"
    assert [event.seq for event in layouts.unpack_array("bf_event", data)] == [0, 1, 2, 3, 4]


@given(st.sampled_from(sorted(MEASURED)), st.integers())
def test_packing_what_was_unpacked_gives_the_same_bytes(name: str, seed: int) -> None:
    raw = random.Random(seed).randbytes(layouts.size(name))
    assert layouts.pack(name, **layouts.fields(layouts.unpack(name, raw))) == raw


def test_numpy_keeps_the_zero_bytes_of_an_array_of_bytes() -> None:
    raw = layouts.pack("bf_exception", code=b"\x90\0\0\x90" + bytes(12))
    (row,) = numpy.frombuffer(raw, layouts.numpy_dtype("bf_exception"))
    assert bytes(row["code"]) == layouts.unpack("bf_exception", raw).code == b"\x90\0\0\x90" + bytes(12)


@given(st.integers())
def test_numpy_reads_the_same_values(seed: int) -> None:
    raw = random.Random(seed).randbytes(3 * layouts.size("bf_version"))
    rows = numpy.frombuffer(raw, layouts.numpy_dtype("bf_version"))
    for row, record in zip(rows, layouts.unpack_array("bf_version", raw, 3), strict=True):
        for member in layouts.field_names("bf_version"):
            assert int(row[member]) == getattr(record, member)
