"""Is a boot disk composed, recognised and patched as the boot loader expects it?"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bareflow_gdb.abi import layouts
from bareflow_gdb.build.finish_image import check_size, finished_kernel
from bareflow_gdb.errors import BadData, BareflowError, UsageError
from bareflow_gdb.qemu.image import (
    FLOPPY_BYTES,
    SECTOR,
    RootSettings,
    compose_disk,
    decode_image_header,
    image_crc,
    patched_copy,
    patched_kernel,
    read_image_header,
)

BASE = layouts.const("BF_IMAGE_BASE")
ROOT = BASE + 0x200
MAGIC = tuple(layouts.const(f"BF_ROOT_MAGIC{n}") for n in range(4))
STAGE1 = bytes([1]) * SECTOR
STAGE2 = bytes([2]) * SECTOR * layouts.const("BF_STAGE2_SECTORS")
BUILD_ID = bytes(range(20))


def linked(size: int = 3000, **root: Any) -> bytes:
    """A kernel image as the linker leaves it."""
    header = layouts.pack("bf_image_header", magic=layouts.const("BF_FLUD_MAGIC"), root=ROOT)
    words = {
        "magic": MAGIC,
        "size": layouts.size("bf_root"),
        "checked_size": layouts.offset("bf_root", "thresholds"),
        "thresholds": (100, 1000, 10000),
    } | root
    body = header.ljust(ROOT - BASE, b"\x90") + layouts.pack("bf_root", **words)
    return body.ljust(size, b"\xcc")


def kernel(size: int = 3000) -> bytes:
    return finished_kernel(linked(size), BUILD_ID, ROOT, 0x20000)


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    path = tmp_path / "fluid.img"
    path.write_bytes(compose_disk(STAGE1, STAGE2, kernel()))
    return path


def root_of(image: Path) -> Any:
    at = layouts.const("BF_IMAGE_LBA") * SECTOR + ROOT - BASE
    return layouts.unpack("bf_root", image.read_bytes()[at:])


def test_stages_and_kernel_are_where_the_loader_reads_them() -> None:
    disk = compose_disk(STAGE1, STAGE2, kernel())
    assert disk[:SECTOR] == STAGE1
    assert disk[SECTOR : 9 * SECTOR] == STAGE2
    assert disk[9 * SECTOR :].startswith(kernel())


def test_a_disk_can_be_used_as_a_floppy() -> None:
    assert len(compose_disk(STAGE1, STAGE2, kernel())) == FLOPPY_BYTES == 80 * 2 * 18 * SECTOR


@pytest.mark.parametrize(("stage1", "stage2"), [(STAGE1[:-1], STAGE2), (STAGE1, STAGE2 + b"x")])
def test_a_stage_of_the_wrong_size_is_refused(stage1: bytes, stage2: bytes) -> None:
    with pytest.raises(BadData, match="must have"):
        compose_disk(stage1, stage2, kernel())


def test_a_finished_kernel_says_its_length_its_crc_and_where_its_root_is() -> None:
    image = kernel()
    header = decode_image_header(image, "test")
    assert (header.root, header.image_bytes, header.sectors) == (ROOT, 3000, 6)
    at = layouts.offset("bf_image_header", "crc")
    assert header.crc == zlib.crc32(image[:at] + bytes(4) + image[at + 4 :])


def test_a_finished_root_describes_the_image_and_has_a_right_checksum() -> None:
    raw = bytearray(kernel()[ROOT - BASE :])
    root = layouts.unpack("bf_root", bytes(raw))
    assert (root.image_base, root.image_bytes, root.image_end) == (BASE, 3000, 0x20000)
    assert root.build_id == BUILD_ID
    at = layouts.offset("bf_root", "checksum")
    raw[at : at + 4] = bytes(4)
    assert root.checksum == zlib.crc32(raw[: root.checked_size])


def test_the_largest_image_is_accepted_and_one_byte_more_is_refused_with_both_numbers() -> None:
    limit = layouts.const("BF_IMAGE_MAX_SECTORS")
    check_size(limit * SECTOR)
    with pytest.raises(BadData, match=r"image needs 513 sectors, the loader reads 512: .* 1 bytes smaller"):
        finished_kernel(linked(limit * SECTOR + 1), BUILD_ID, ROOT, 0x60000)


@pytest.mark.parametrize("change", [{"magic": (0, 0, 0, 0)}, {"checked_size": 8}])
def test_a_kernel_with_an_unfinished_root_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadData, match="bareflow_root"):
        finished_kernel(linked(**change), BUILD_ID, ROOT, 0x20000)


def test_a_header_that_leads_elsewhere_than_the_root_is_refused() -> None:
    with pytest.raises(BadData, match="relink"):
        finished_kernel(linked(), BUILD_ID, ROOT + 4, 0x20000)


def test_a_patched_copy_has_the_settings_and_a_right_crc(disk: Path, tmp_path: Path) -> None:
    settings = RootSettings((7, 70, 700), hold=1, scenario=2, run_calls=5, call_sample=3, hook_mask=0x3F)
    out = tmp_path / "patched.img"
    patched_copy(disk, settings, out)
    root = root_of(out)
    assert root.thresholds == (7, 70, 700)
    assert (root.hold, root.scenario, root.run_calls, root.call_sample) == (1, 2, 5, 3)
    assert root.hook_mask == 0x3F
    header = read_image_header(out)
    content = out.read_bytes()[9 * SECTOR : 9 * SECTOR + header.image_bytes]
    assert header.crc == image_crc(content) != read_image_header(disk).crc


def test_a_patched_copy_differs_only_in_settings_and_crc(disk: Path, tmp_path: Path) -> None:
    out = tmp_path / "patched.img"
    patched_copy(disk, RootSettings(hold=0x01010101), out)
    before, after = disk.read_bytes(), out.read_bytes()
    changed = {at for at in range(len(before)) if before[at] != after[at]}
    hold = 9 * SECTOR + ROOT - BASE + layouts.offset("bf_root", "hold")
    crc = 9 * SECTOR + layouts.offset("bf_image_header", "crc")
    assert len(before) == len(after)
    assert changed <= {*range(hold, hold + 4), *range(crc, crc + 4)}
    assert root_of(out).checksum == root_of(disk).checksum


def test_the_original_settings_give_the_original_disk(disk: Path, tmp_path: Path) -> None:
    out = tmp_path / "patched.img"
    patched_copy(disk, RootSettings(), out)
    assert out.read_bytes() == disk.read_bytes()


@pytest.mark.parametrize(
    "settings",
    [RootSettings(hold=1 << 32), RootSettings(hold=-1), RootSettings(thresholds=(1, 2))],  # type: ignore[arg-type]
)
def test_a_setting_that_does_not_fit_is_refused_and_nothing_is_written(
    disk: Path, tmp_path: Path, settings: RootSettings
) -> None:
    out = tmp_path / "patched.img"
    with pytest.raises(UsageError, match=r"hold|thresholds"):
        patched_copy(disk, settings, out)
    assert [path.name for path in tmp_path.iterdir()] == ["fluid.img"]


@pytest.mark.parametrize("size", [0, 100, 9 * SECTOR, 9 * SECTOR + 8, 9 * SECTOR + 1000])
def test_a_truncated_image_is_refused_and_nothing_is_written(disk: Path, tmp_path: Path, size: int) -> None:
    disk.write_bytes(disk.read_bytes()[:size])
    with pytest.raises(BadData):
        patched_copy(disk, RootSettings(), tmp_path / "patched.img")
    assert [path.name for path in tmp_path.iterdir()] == ["fluid.img"]


def test_a_file_that_is_no_image_is_refused_with_what_was_found(tmp_path: Path) -> None:
    other = tmp_path / "photo.jpg"
    other.write_bytes(b"\xff\xd8" * 5000)
    with pytest.raises(BadData, match=r"photo.jpg does not hold a kernel image.*0xd8ffd8ff"):
        read_image_header(other)


def test_a_damaged_image_is_refused(disk: Path, tmp_path: Path) -> None:
    content = bytearray(disk.read_bytes())
    content[9 * SECTOR + 2000] ^= 1
    disk.write_bytes(content)
    with pytest.raises(BadData, match="damaged"):
        patched_copy(disk, RootSettings(), tmp_path / "patched.img")


def test_a_missing_image_and_an_unwritable_copy_are_one_sentence(disk: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read"):
        patched_copy(tmp_path / "none.img", RootSettings(), tmp_path / "patched.img")
    with pytest.raises(BareflowError, match=r"cannot write .*No such file"):
        patched_copy(disk, RootSettings(), tmp_path / "no folder" / "patched.img")


@given(st.binary(max_size=600), st.binary(max_size=64))
def test_patching_garbage_raises_only_the_suites_own_error(garbage: bytes, tail: bytes) -> None:
    whole = kernel()
    for data in (garbage, whole[: len(garbage)] + tail, garbage[:32] + whole[32:], whole[:8] + garbage):
        try:
            patched_kernel(data, RootSettings(), "garbage")
        except BareflowError:
            continue
        assert data.startswith(whole)
