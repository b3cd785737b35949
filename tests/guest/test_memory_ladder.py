"""The best reader that works: for machines that others started, the guest is not even stopped."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from asking import record_of
from machines import wait_for

from bareflow_gdb.abi import layouts
from bareflow_gdb.cli.targets import open_target
from bareflow_gdb.errors import ReadError, Unreachable
from bareflow_gdb.guest.doctor import check_guest
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.memory import choose
from bareflow_gdb.memory.dump import RawDump
from bareflow_gdb.memory.gdbstub import GdbStub
from bareflow_gdb.memory.listeners import behind
from bareflow_gdb.memory.process_ram import ProcessRam
from bareflow_gdb.memory.protocol import Memory
from bareflow_gdb.memory.qemu_ram import QemuRam
from bareflow_gdb.qemu.image import RootSettings, patched_copy
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine


@pytest.fixture
def foreign(image: Path, tmp_path: Path) -> Iterator[tuple[int, str]]:
    """A QEMU as anyone starts it: anonymous RAM, no QMP; its pid and the address of its gdbstub."""
    path, disk = f"{tmp_path}/stub", tmp_path / "disk.img"
    patched_copy(image, RootSettings(thresholds=(10, 20, 30)), disk)
    words = ["qemu-system-i386", "-display", "none", "-drive", f"file={disk},format=raw,snapshot=on"]
    process = subprocess.Popen([*words, "-gdb", f"unix:{path},server=on,wait=off"])
    address = f"unix:{path}"
    wait_for(lambda: behind(address) == process.pid, "QEMU to listen")
    yield process.pid, address
    process.kill()
    process.wait()


def test_the_ram_of_a_foreign_qemu_is_found_and_equals_what_its_stub_reads(foreign: tuple[int, str]) -> None:
    pid, address = foreign
    assert behind(address) == pid
    memory = _booted(pid)
    assert memory.ranges[-1] == (0x100000, 128 << 20)
    with GdbStub.connect(address, ram_size=128 << 20) as stub:
        for start, size in ((0, 0xA0000), (0x100000, 1 << 20)):
            assert memory.read(start, size, "comparison") == stub.read(start, size, "comparison")


def test_a_target_given_by_its_stub_is_read_without_stopping_it(foreign: tuple[int, str]) -> None:
    pid, address = foreign
    _booted(pid)
    target = open_target(address)
    assert (target.kind, target.memory.name) == ("gdbstub", "QEMU process")
    # The one connection that the stub takes is still free.
    GdbStub.connect(address).close()


def test_what_memory_does_not_tell_the_stub_tells(foreign: tuple[int, str]) -> None:
    pid, address = foreign
    ram = _booted(pid)
    guest = Guest.attach(open_target(address).memory)
    assert guest.memory.name == "QEMU process"
    cpu = record_of(guest, "cpu")
    assert (cpu.mode, cpu.idt_found_by, len(cpu.gates) >= 32) == ("protected", "register", True)
    irq = record_of(guest, "irq")
    assert irq.pics_known
    assert irq.lines[0].masked is not None
    stack = record_of(guest, "stack")
    assert stack.source == "registers"
    screen = record_of(guest, "screen")
    assert any(row.text.strip() for row in screen.rows)
    assert any("no second disk" in note for note in record_of(guest, "fat").notes)
    states = {check.part: check.state for check in check_guest(guest)}
    assert states["registers"] == "works"
    # It was stopped for each of these questions only.
    ticks = Guest.attach(ram).kernel()
    before = ticks.irq().ticks
    wait_for(lambda: ticks.irq().ticks != before, "the next tick")


def test_a_stub_that_a_debugger_has_leaves_the_answers_of_memory(
    foreign: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pid, address = foreign
    _booted(pid)
    monkeypatch.setattr(choose, "BESIDE_SECONDS", 0.5)
    with GdbStub.connect(address):
        guest = Guest.attach(open_target(address).memory)
        assert record_of(guest, "status").stage == "idle"
        cpu = record_of(guest, "cpu")
        assert cpu.mode == "unknown"
        assert any("is a gdb connected to it already?" in note for note in cpu.notes)


def test_a_write_into_a_foreign_qemu_is_seen_by_its_guest(foreign: tuple[int, str]) -> None:
    pid, address = foreign
    _booted(pid).write(0x700000, b"written here", "test bytes")
    with GdbStub.connect(address) as stub:
        assert stub.read(0x700000, 12, "test bytes") == b"written here"


def test_a_foreign_qemu_that_ends_is_told(foreign: tuple[int, str]) -> None:
    pid, _ = foreign
    memory = _booted(pid)
    os.kill(pid, 9)

    def told() -> bool:
        # Its memory goes with the last of its threads, a moment after the signal.
        try:
            memory.read(0x10000, 4, "image header")
        except ReadError as error:
            assert "gone" in str(error)
            return True
        return False

    wait_for(told, "the end of its memory")


def test_the_stub_of_one_of_our_machines_leads_to_its_ram(idle_machine: Machine) -> None:
    target = open_target(f"unix:{idle_machine.gdb_socket}")
    assert target.machine == idle_machine
    assert isinstance(target.memory, QemuRam)


def test_a_process_that_is_not_qemu_or_not_booted_is_refused(image: Path) -> None:
    with pytest.raises(Unreachable, match="is not QEMU"):
        ProcessRam(os.getpid())
    machine = launch(image, paused=True)
    with pytest.raises(Unreachable, match="0 mappings that look like"):
        ProcessRam(machine.pid)
    machine.stop()


def test_who_listens_at_a_tcp_port_is_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert behind(f"tcp:localhost:{port}") == os.getpid()
        assert behind(f"tcp:elsewhere.example:{port}") is None
    assert behind(f"tcp:localhost:{port}") is None


def test_the_ladder_takes_a_faster_reader_only_when_it_shows_the_same_guest(
    idle_machine: Machine, tmp_path: Path
) -> None:
    reference = idle_machine.memory()
    other = tmp_path / "other"
    other.write_bytes(bytes(0x20000))

    def fails() -> Memory:
        raise Unreachable("no such thing")

    chosen = choose.choose(reference, fails, lambda: RawDump(other), lambda: ProcessRam(idle_machine.pid))
    assert isinstance(chosen, ProcessRam)
    assert choose.choose(reference, fails, lambda: RawDump(other)) is reference


def _booted(pid: int) -> ProcessRam:
    """Waits for the kernel; until then nothing marks the RAM as a guest's."""
    found: list[ProcessRam] = []

    def idle() -> bool:
        if not found:
            try:
                found.append(ProcessRam(pid))
            except Unreachable:
                return False
        at = layouts.const("BF_BOOT_RECORD_ADDRESS") + layouts.offset("bf_boot_record", "stage")
        return found[0].read(at, 4, "stage")[0] == layouts.const("BF_STAGE_IDLE")

    wait_for(idle, "the guest to be idle")
    return found[0]
