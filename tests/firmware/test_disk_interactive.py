"""Does an INTERACTIVE=1 kernel wait for a key where it says so, four times in the FAT16 test, and take typed keys?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from disk_maker import Disk, listed
from elftools.elf.elffile import ELFFile
from kernel_view import Kernel
from machines import wait_for
from own_kernel import make, own_output

from bareflow_gdb.guest.boot.wait import wait_for_serial, wait_for_stage
from bareflow_gdb.qemu.image import RootSettings
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine

PAUSES = (
    "modules and the adaptive JIT",
    "FAT16 test 1, the list of files",
    "FAT16 test 2, TEST.TXT",
    "FAT16 test 3, README.TXT",
    "FAT16 test 4, a missing file",
)
STEPS = (
    "[INTERACTIVE] FAT16 test 1",
    "[FAT16-TEST] 3 files\n",
    "[FAT16-TEST] TEST.TXT: 5 bytes\n",
    "[FAT16-TEST] README.TXT: 3 bytes\n",
    "[FAT16-TEST] A missing file is reported  [OK]\n",
)
IDLE_TICKS = 25
KEYS = 64  # capacity of the queue, which nothing empties in the idle loop


def press(machine: Machine, *codes: str) -> None:
    """One key, or several held together, by QEMU's names for them."""
    machine.qmp("send-key", keys=[{"type": "qcode", "data": code} for code in codes], hold_time=20)


@pytest.fixture(scope="module")
def out(firmware: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return own_output(firmware, tmp_path_factory.mktemp("interactive"))


@pytest.fixture(scope="module")
def waiting(out: Path) -> Iterator[Machine]:
    """An interactive kernel with a disk, at its first pause."""
    files = {"TEST.TXT": b"test\n", "README.TXT": b"me\n", "X.MOD": b"x"}
    disk = Disk.of(files).save(out / "fat16.img")
    settings = RootSettings(thresholds=(10, 20, 30))
    machine = launch(make(out, "INTERACTIVE=1"), disk=disk, settings=settings)
    yield machine
    machine.stop()


def test_it_waits_at_each_pause_until_a_key_is_pressed_and_no_longer(waiting: Machine) -> None:
    wait_for_serial(waiting, "[INTERACTIVE]")
    kernel = Kernel(waiting)
    for pause, step in zip(PAUSES, STEPS, strict=True):
        wait_for_serial(waiting, f"[INTERACTIVE] {pause}: press a key")
        ticks = kernel.status.irq_count
        wait_for(lambda: kernel.status.irq_count >= ticks + IDLE_TICKS, "the guest to wait on")  # noqa: B023
        assert step not in kernel.log, f"{pause}: it did not wait"
        press(waiting, "spc")
        wait_for_serial(waiting, step.strip())
    assert kernel.log.count("[INTERACTIVE]") == len(PAUSES)
    assert set(listed(kernel.log)) == {"TEST.TXT", "README.TXT", "X.MOD"}
    wait_for_stage(waiting, "idle")


@pytest.mark.parametrize(
    ("chord", "typed"),
    [
        (("a",), b"a"),
        (("shift", "a"), b"A"),
        (("shift_r", "1"), b"!"),
        (("1",), b"1"),
        (("ret",), b"\n"),
        (("up",), b""),
        (("caps_lock",), b""),
        (("slash",), b"/"),
        (("kp_divide",), b"/"),
    ],
)
def test_typed_keys_reach_the_queue_as_characters(
    out: Path, waiting: Machine, chord: tuple[str, ...], typed: bytes
) -> None:
    """Each chord is followed by a dot, so that it is known when it was taken."""
    wait_for_stage(waiting, "idle")
    kernel = Kernel(waiting)
    with (out / "kernel.elf").open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        queue, written = (table.get_symbol_by_name(name)[0]["st_value"] for name in ("keys", "keys_written"))

    def count() -> int:
        return int.from_bytes(kernel.read(written, 4), "little")

    before = count()
    press(waiting, *chord)
    press(waiting, "dot")
    wait_for(lambda: count() >= before + len(typed) + 1, f"{chord} are typed")
    ring = kernel.read(queue, KEYS)
    assert bytes(ring[n % KEYS] for n in range(before, count())) == typed + b"."
