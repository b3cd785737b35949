"""Does the boot loader bring the kernel up on every path, and say what is wrong on every other?

Real QEMU each time. What the loader did is read from the boot record in guest RAM.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from machines import wait_for

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.boot.wait import wait_for_serial, wait_for_stage
from bareflow_gdb.qemu.image import SECTOR, RootSettings, read_image_header
from bareflow_gdb.qemu.launch import launch as start
from bareflow_gdb.qemu.machine import Machine

IMAGE = Path(__file__).parents[2] / "build" / "firmware" / "fluid.img"
KERNEL = layouts.const("BF_IMAGE_LBA") * SECTOR
A20_TEST = SECTOR + 4  # the byte a20_test of stage 2
METHODS = layouts.enum_values("bf_a20_method")
STAGES = layouts.enum_values("bf_boot_stage")
QUICK = RootSettings(thresholds=(10, 20, 30))

Launch = Callable[..., Machine]


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    """Boots a disk given as bytes; ends all machines afterwards."""
    machines: list[Machine] = []

    def boot(disk: bytes, **options: Any) -> Machine:
        image = tmp_path / f"{len(machines)}.img"
        image.write_bytes(disk)
        machines.append(start(image, directory=tmp_path / f"vm{len(machines)}", **options))
        return machines[-1]

    yield boot
    for machine in machines:
        machine.stop()


@pytest.fixture
def disk() -> bytearray:
    return bytearray(IMAGE.read_bytes())


def boot_record(machine: Machine) -> Any:
    address, size = layouts.const("BF_BOOT_RECORD_ADDRESS"), layouts.size("bf_boot_record")
    return layouts.unpack("bf_boot_record", machine.memory().read(address, size, "boot record"))


def put_header(disk: bytearray, field: str, value: int) -> None:
    struct.pack_into("<I", disk, KERNEL + layouts.offset("bf_image_header", field), value)


def fatal(machine: Machine, code: int, stage: str) -> Any:
    """The boot record of a guest that ends with this code, told on COM1, on the screen and in the record."""
    text = f"FATAL ERROR: 0x{code:02X}"
    wait_for_serial(machine, text + "\n")
    assert text in machine.read_screen()[::2].decode("latin-1")
    record = boot_record(machine)
    assert record.fatal == code
    assert record.stage == STAGES[f"BF_STAGE_{stage}"]
    assert "[serial] init ok" not in machine.serial()
    return record


def sectors_of_image() -> int:
    return read_image_header(IMAGE).sectors


@pytest.mark.parametrize(("floppy", "method"), [(False, "LBA"), (True, "CHS")])
def test_it_boots_from_a_hard_disk_by_lba_and_from_a_floppy_by_chs(
    launch: Launch, disk: bytearray, floppy: bool, method: str
) -> None:
    machine = launch(disk, floppy=floppy)
    wait_for_stage(machine, "core")
    record = boot_record(machine)
    assert record.magic == layouts.const("BF_BOOT_MAGIC")
    assert record.size == layouts.size("bf_boot_record")
    assert record.drive == (0x00 if floppy else 0x80)
    assert record.disk_method == layouts.const(f"BF_DISK_{method}")
    assert record.a20_method == METHODS["BF_A20_ALREADY_ON"]
    assert record.sectors_needed == record.sectors_asked == record.sectors_read == sectors_of_image()
    assert record.load_address == layouts.const("BF_IMAGE_BASE")
    assert record.signature == layouts.const("BF_FLUD_MAGIC")
    assert record.fatal == 0
    assert 64 * 1024 - 1024 - 256 <= record.memory_kib <= 64 * 1024 - 1024
    assert machine.serial().startswith("[serial] init ok")


def test_each_stage_has_its_time_in_order(launch: Launch, disk: bytearray) -> None:
    machine = launch(disk)
    wait_for_stage(machine, "core")
    times = boot_record(machine).stage_tsc
    reached = list(times[STAGES["BF_STAGE_STAGE1"] : STAGES["BF_STAGE_CORE"] + 1])
    assert all(reached)
    assert reached == sorted(reached)


def test_the_crc_of_the_loader_is_zlibs(launch: Launch, disk: bytearray) -> None:
    machine = launch(disk)
    wait_for_stage(machine, "core")
    header = read_image_header(IMAGE)
    kernel = bytearray(disk[KERNEL : KERNEL + header.image_bytes])
    at = layouts.offset("bf_image_header", "crc")
    kernel[at : at + 4] = bytes(4)
    record = boot_record(machine)
    assert record.crc_computed == record.crc_expected == zlib.crc32(kernel)


def test_the_image_in_memory_is_the_one_on_disk(launch: Launch, disk: bytearray) -> None:
    # A kernel that does nothing: what follows the loader must not have changed the image yet.
    header = read_image_header(IMAGE)
    end = KERNEL + header.image_bytes
    disk[KERNEL + 4 : KERNEL + 7] = b"\xf4\xeb\xfd"  # hlt; jmp -3
    seal(disk)
    machine = launch(disk)
    wait_for_stage(machine, "protected")
    base = layouts.const("BF_IMAGE_BASE")
    assert machine.memory().read(base, header.image_bytes, "kernel image") == bytes(disk[KERNEL:end])


def from_root(machine: Machine, field: str, record: str) -> Any:
    """A record found as a debugger finds it: image header, root descriptor, pointer."""
    memory = machine.memory()
    at = read_image_header(IMAGE).root
    root = layouts.unpack("bf_root", memory.read(at, layouts.size("bf_root"), "root"))
    return layouts.unpack(record, memory.read(getattr(root, field), layouts.size(record), field))


def status(machine: Machine) -> Any:
    return from_root(machine, "status", "bf_status")


def test_the_kernel_measures_its_clock_to_a_thousandth(launch: Launch, disk: bytearray) -> None:
    # With -icount shift=0 an instruction takes one virtual nanosecond, and the TSC counts instructions.
    machine = launch(disk, icount=0)
    wait_for_stage(machine, "core")
    assert status(machine).tsc_hz == pytest.approx(1_000_000_000, rel=0.001)


def test_the_timer_ticks_250_times_a_second(launch: Launch, disk: bytearray) -> None:
    # By the guest's own clock: QEMU drops ticks of real time when the host is busy.
    machine = launch(disk, icount=0, settings=QUICK)
    wait_for_stage(machine, "idle")
    memory, header = machine.memory(), layouts.const("BF_RING1_HEADER")
    mask = 1 << layouts.const("BF_EVENT_IRQ")
    memory.write(header + layouts.offset("bf_ring_header", "type_mask"), mask.to_bytes(4, "little"), "type mask")
    size = layouts.size("bf_ring_header")

    def events() -> int:
        head = int(layouts.unpack("bf_ring_header", memory.read(header, size, "ring 1")).head)
        return head if head >= 20 else 0

    head = wait_for(events, "20 timer interrupts in ring 1")
    records = memory.read(layouts.const("BF_RING1_RECORDS"), head * layouts.size("bf_event"), "events")
    ticks = [event.tsc for event in layouts.unpack_array("bf_event", records, head)]
    assert (ticks[-1] - ticks[0]) / (len(ticks) - 1) == pytest.approx(4_000_000, rel=0.01)


def test_the_log_buffer_holds_what_com1_printed(launch: Launch, disk: bytearray) -> None:
    machine = launch(disk, settings=QUICK)
    wait_for_stage(machine, "idle")
    log = from_root(machine, "log_buffer", "bf_log")
    assert log.magic == layouts.const("BF_LOG_MAGIC")
    printed = machine.serial_path.read_bytes()
    assert log.written == len(printed)
    ring = machine.memory().read(log.text, log.capacity, "log")
    kept = printed[-log.capacity :]
    assert bytes(ring[at % log.capacity] for at in range(log.written - len(kept), log.written)) == kept


def test_the_screen_shows_the_last_lines_of_com1(launch: Launch, disk: bytearray) -> None:
    machine = launch(disk, settings=QUICK)
    wait_for_stage(machine, "idle")
    rows: list[str] = []
    for line in machine.serial().splitlines():
        rows += [line[at : at + 80] for at in range(0, len(line), 80)] or [""]
    cells = machine.read_screen()
    screen = [cells[row * 160 : row * 160 + 160 : 2].decode("latin-1").rstrip() for row in range(25)]
    assert screen == [row.rstrip() for row in rows[-24:]] + [""]


@pytest.mark.parametrize("mib", [16, 64, 256])
def test_the_memory_above_1_mib_is_counted(launch: Launch, disk: bytearray, mib: int) -> None:
    machine = launch(disk, memory_mib=mib)
    wait_for_stage(machine, "core")
    assert (mib - 1) * 1024 - 256 <= boot_record(machine).memory_kib <= (mib - 1) * 1024


def seal(disk: bytearray) -> None:
    """Make the CRC of a changed kernel image right again."""
    put_header(disk, "crc", 0)
    size = struct.unpack_from("<I", disk, KERNEL + layouts.offset("bf_image_header", "image_bytes"))[0]
    put_header(disk, "crc", zlib.crc32(disk[KERNEL : KERNEL + size]))


@pytest.mark.parametrize("sectors", [1, 2, 127, 128, 129, 255, 256, 257, 511, 512])
@pytest.mark.parametrize("floppy", [False, True])
def test_every_length_of_image_up_to_the_capacity_is_read_whole(
    launch: Launch, disk: bytearray, floppy: bool, sectors: int
) -> None:
    size = sectors * SECTOR - 3
    pattern = b"".join(zlib.crc32(bytes([n & 255, n >> 8])).to_bytes(4, "little") for n in range(sectors * 128))
    disk[KERNEL:] = bytes(len(disk) - KERNEL)
    disk[KERNEL : KERNEL + size] = pattern[:size]
    put_header(disk, "magic", layouts.const("BF_FLUD_MAGIC"))
    disk[KERNEL + 4 : KERNEL + 7] = b"\xf4\xeb\xfd"
    put_header(disk, "image_bytes", size)
    seal(disk)
    machine = launch(disk, floppy=floppy)
    wait_for_stage(machine, "protected")
    record = boot_record(machine)
    assert record.sectors_needed == record.sectors_asked == record.sectors_read == sectors
    loaded = machine.memory().read(layouts.const("BF_IMAGE_BASE"), size, "kernel image")
    assert loaded == bytes(disk[KERNEL : KERNEL + size])


@pytest.mark.parametrize("method", ["BIOS", "KEYBOARD", "FAST"])
def test_each_way_of_turning_a20_on_works_alone(launch: Launch, disk: bytearray, method: str) -> None:
    disk[A20_TEST] = METHODS[f"BF_A20_{method}"]
    machine = launch(disk)
    wait_for_stage(machine, "core")
    assert boot_record(machine).a20_method == METHODS[f"BF_A20_{method}"]


def test_a20_that_is_off_is_noticed_and_turned_on(launch: Launch, disk: bytearray) -> None:
    disk[A20_TEST] = METHODS["BF_A20_ALREADY_ON"]  # off first, then the normal way
    machine = launch(disk)
    wait_for_stage(machine, "core")
    assert boot_record(machine).a20_method == METHODS["BF_A20_BIOS"]


def test_without_a20_the_boot_ends_with_0xa2(launch: Launch, disk: bytearray) -> None:
    disk[A20_TEST] = 0xFF  # off, and no method
    record = fatal(launch(disk), 0xA2, "STAGE2")
    assert record.a20_method == METHODS["BF_A20_NONE"]


def test_a_wrong_signature_ends_with_0x51(launch: Launch, disk: bytearray) -> None:
    put_header(disk, "magic", 0x464C5545)
    assert fatal(launch(disk), 0x51, "A20").signature == 0x464C5545


@pytest.mark.parametrize("part", ["first sector", "middle", "last byte"])
def test_one_changed_bit_anywhere_ends_with_0xd2(launch: Launch, disk: bytearray, part: str) -> None:
    size = read_image_header(IMAGE).image_bytes
    disk[KERNEL + {"first sector": 40, "middle": size // 2, "last byte": size - 1}[part]] ^= 0x10
    record = fatal(launch(disk), 0xD2, "LOADED")
    assert record.crc_computed != record.crc_expected == read_image_header(IMAGE).crc


@pytest.mark.parametrize("size", [512 * SECTOR + 1, 0x01000000, 0xFFFFFFFF])
def test_an_image_larger_than_the_loader_holds_is_not_read_and_ends_with_0xd2(
    launch: Launch, disk: bytearray, size: int
) -> None:
    put_header(disk, "image_bytes", size)
    record = fatal(launch(disk), 0xD2, "HEADER")
    assert record.sectors_needed == -(-size // SECTOR)
    assert record.sectors_read == 1


def test_a_disk_without_a_kernel_ends_with_0xe0(launch: Launch, disk: bytearray) -> None:
    disk[KERNEL:] = bytes(len(disk) - KERNEL)
    assert fatal(launch(disk), 0xE0, "A20").sectors_read == 1


def test_a_kernel_of_no_bytes_ends_with_0xe0(launch: Launch, disk: bytearray) -> None:
    put_header(disk, "image_bytes", 0)
    fatal(launch(disk), 0xE0, "A20")


def test_a_disk_that_ends_within_the_kernel_ends_with_0xd1(launch: Launch, disk: bytearray) -> None:
    record = fatal(launch(disk[: KERNEL + 5 * SECTOR]), 0xD1, "HEADER")
    assert record.bios_status != 0
    assert record.sectors_read == 1 < record.sectors_asked


def test_a_disk_that_ends_within_stage_2_ends_with_0xd1(launch: Launch, disk: bytearray) -> None:
    fatal(launch(disk[: 4 * SECTOR]), 0xD1, "STAGE1")
