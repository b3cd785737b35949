"""Instructions in the kernel's image that its CPU is not set up for: told by what CR4 says, and by which they are."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from bareflow_gdb.abi import layouts
from bareflow_gdb.checks.cpu_features import CHECK
from bareflow_gdb.qemu.image import SECTOR

SSE, AVX = bytes.fromhex("0f 28 c1"), bytes.fromhex("c5 f8 28 c1")
"""movaps and vmovaps, between two registers."""
OSFXSR, OSXSAVE = 1 << 9, 1 << 18
OFF = "the kernel is compiled with {}, and {} is off"


@pytest.mark.parametrize(
    ("code", "cr4", "told"),
    [
        (SSE, 0, OFF.format("SSE", "SSE")),
        (AVX, 0, OFF.format("AVX", "SSE")),
        (SSE, OSFXSR, ""),
        (AVX, OSFXSR, OFF.format("AVX", "AVX")),
        (AVX, OSFXSR | OSXSAVE, ""),
        (b"", 0, ""),
    ],
)
def test_what_is_switched_off_is_told(image: Path, tmp_path: Path, code: bytes, cr4: int, told: str) -> None:
    disk = bytearray(image.read_bytes())
    at = layouts.const("BF_IMAGE_LBA") * SECTOR + 0x4000
    disk[at : at + 50 * len(code)] = code * 50
    path = tmp_path / "boot.img"
    path.write_bytes(disk)
    subject = SimpleNamespace(
        registers=SimpleNamespace(control={"cr4": cr4}), machine=SimpleNamespace(image=path), kernel=None
    )
    assert [finding.what for finding in CHECK.look(subject)] == ([told] if told else [])
