"""The check of a language model in RAM: each tensor by its CRC, the head by its own, a whole one in silence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from guest_copy import GuestCopy
from machines import SECONDS, wait_for

from bareflow_gdb.abi import layouts
from bareflow_gdb.build.fat_image import parse_file, write_image
from bareflow_gdb.checks import registry
from bareflow_gdb.checks.registry import Findings
from bareflow_gdb.checks.subject import Subject
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.model.packed_file import SMALL, PackedFile
from bareflow_gdb.qemu.launch import launch

BASE = layouts.const("BF_WEIGHTS_BASE")
HEAD = layouts.size("bf_model_header")


@pytest.fixture(scope="module")
def copy(firmware: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuestCopy]:
    """Of a guest that has loaded the small model, and compared its CRCs."""
    disk = tmp_path_factory.mktemp("model") / "model.img"
    write_image([parse_file(str(SMALL))], disk)
    machine = launch(firmware / "llama.img", disk=disk)
    try:
        wait_for(lambda: "every CRC right" in machine.serial(), "the model", SECONDS)
        yield GuestCopy(machine)
    finally:
        machine.stop()


def asked(copy: GuestCopy) -> Findings:
    return registry.run(Subject(lambda: Guest.attach(copy).kernel()), ["weights"])


def test_a_whole_model_has_no_finding(copy: GuestCopy) -> None:
    found = asked(copy)
    assert (found.checks[0].state, found.findings) == ("passed", ())


def test_each_tensor_is_named_that_has_one_bit_changed(copy: GuestCopy) -> None:
    for part in PackedFile.open(SMALL).model.parts:
        for at in (BASE + part.offset, BASE + part.offset + part.bytes - 1):
            with copy.undone():
                copy.write(at, bytes([copy.read(at, 1, "weight")[0] ^ 0x10]), "damage")
                copy.invalidate()
                (finding,) = asked(copy).findings
            assert f" {part.name} of the language model is damaged" in finding.what
            assert f"0x{part.crc:08x}" in finding.evidence


@pytest.mark.parametrize("at", [0, 4, 12, 16, 24, HEAD, HEAD + 40, HEAD + 44])
def test_a_damaged_head_is_one_finding_whatever_it_claims(copy: GuestCopy, at: int) -> None:
    with copy.undone():
        copy.write(BASE + at, b"\xff\xff\xff\x7f", "damage")
        copy.invalidate()
        (finding,) = asked(copy).findings
    assert finding.what == "the head of the language model in memory is damaged"


@pytest.mark.parametrize("state", ["NONE", "NO_FILE", "NO_RAM", "LOADING", "DISK_ERROR", "DAMAGED"])
def test_a_kernel_without_a_model_has_nothing_to_look_at(copy: GuestCopy, state: str) -> None:
    record = layouts.const("BF_MODEL_RECORD_ADDRESS") + layouts.offset("bf_model_record", "state")
    with copy.undone():
        copy.write(record, layouts.const(f"BF_MODEL_STATE_{state}").to_bytes(4, "little"), "state")
        copy.write(BASE, bytes(HEAD), "no model")
        copy.invalidate()
        found = asked(copy)
    assert (found.checks[0].state, found.findings) == ("not asked", ())
