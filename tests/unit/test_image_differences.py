"""Two images are told apart by what matters: loader, place, entry, sections, flags, modules, code, data."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from bareflow_gdb.abi import layouts
from bareflow_gdb.analysis.image_differences import Differences, compare
from bareflow_gdb.errors import UsageError
from bareflow_gdb.guest.code.vector_code import vector_instructions
from bareflow_gdb.qemu.image import RootSettings, patched_copy

BASE = 0x10000
SECTOR = 512
STRINGS = [f"string number {number}" for number in range(9)]


def loader(sectors: int = 20) -> bytes:
    """Stage 1, and a stage 2 that reads so many sectors."""
    stage2 = b"\xfa\x66\xb8\x09\0\0\0\xb9" + struct.pack("<H", sectors)
    return b"\xea".ljust(510, b"\0") + b"\x55\xaa" + stage2.ljust(8 * SECTOR, b"\0")


def module(name: str, code: bytes) -> bytes:
    return (
        layouts.pack(
            "module_header",
            magic=layouts.const("MODULE_MAGIC"),
            name=name.encode(),
            entry_point=0x30,
            code_size=len(code),
            version=1,
        )
        + code
    )


def kernel(linked: int = BASE, code: bytes = b"", modules: bytes = b"", stack: int = 0x90000) -> bytes:
    """A stock kernel: its entry, its strings, the modules that it carries."""
    begin = b"DULF" + b"\xbc" + struct.pack("<I", stack) + b"\xe8\0\0\0\0" + code
    at, texts, pushes = 0x800, b"", b""
    for text in STRINGS:
        pushes += b"\x68" + struct.pack("<I", linked + at)
        texts += text.encode() + b"\0"
        at += len(text) + 1
    return (begin + pushes + b"\xc3").ljust(0x7FF, b"\0") + b"\0" + texts + modules


@pytest.fixture
def compared(tmp_path: Path):  # type: ignore[no-untyped-def]
    def images(good: bytes, bad: bytes) -> Differences:
        paths = tmp_path / "a", tmp_path / "b"
        for path, data in zip(paths, (good, bad), strict=True):
            path.write_bytes(data)
        return compare(*paths)

    return images


GOOD = loader() + kernel(modules=module("sum", b"\x31\xc0\xc3") + module("primes", b"\x40\xc3"))
PATTERNS = {
    "loader: the loader reads too few sectors": loader(3) + GOOD[9 * SECTOR :],
    "load: it is linked elsewhere": loader() + kernel(linked=0x1000, modules=GOOD[GOOD.index(b"BDOM") :]),
    "entry: ESP at the entry": loader() + kernel(stack=0x80000, modules=GOOD[GOOD.index(b"BDOM") :]),
    "modules: the set of modules": loader() + kernel(modules=module("sum", b"\x31\xc0\xc3")),
    "modules: the code of primes": GOOD.replace(b"\x40\xc3", b"\x48\xc3"),
    "loader: stage 1 differs at 0x7c01": GOOD[:1] + b"\x05" + GOOD[2:],
}


@pytest.mark.parametrize("first", PATTERNS)
def test_the_first_difference_is_the_one_that_was_made(compared, first: str) -> None:  # type: ignore[no-untyped-def]
    found = compared(GOOD, PATTERNS[first])
    assert found.first is not None and f"{found.first.kind}: {found.first.what}" == first, found
    assert found.first.good != found.first.bad


def test_code_for_another_cpu_is_a_flag_and_comes_before_the_code(compared) -> None:  # type: ignore[no-untyped-def]
    sse = b"\x0f\x28\xc1" * 50
    found = compared(GOOD, loader() + kernel(code=sse, modules=GOOD[GOOD.index(b"BDOM") :]))
    assert found.first.kind == "flags" and found.first.bad == "50"
    assert vector_instructions(b"\xc5\xf8\x28\xc1" * 50, 0)[0] == (0, "vmovaps xmm0, xmm1")
    assert vector_instructions(sse[:90], 0) == []


def test_equal_images_do_not_differ_and_what_is_no_image_is_refused(compared) -> None:  # type: ignore[no-untyped-def]
    assert compared(GOOD, GOOD).first is None
    with pytest.raises(UsageError, match="no boot disk and no kernel"):
        compared(GOOD, b"text")


@pytest.mark.parametrize("cut", [600, 5000, 9 * SECTOR + 5, 9 * SECTOR + 40])
def test_an_image_that_was_cut_off_is_compared_or_refused_in_one_sentence(compared, cut: int) -> None:  # type: ignore[no-untyped-def]
    try:
        assert compared(GOOD, GOOD[:cut]).first is not None
    except UsageError as error:
        assert "\n" not in str(error)


def test_what_a_launch_sets_is_told_last_and_what_only_a_build_changes_is_not(tmp_path: Path, image: Path) -> None:
    settings = RootSettings(thresholds=(1, 2, 3))
    patched_copy(image, settings, tmp_path / "bad")
    found = compare(image, tmp_path / "bad")
    assert [(one.kind, one.what, one.bad) for one in found.differences] == [
        ("settings", "the setting thresholds", "1 2 3")
    ]
