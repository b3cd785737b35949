"""Machines on a boot sector of a few lines: the launcher needs no kernel of ours."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from machines import SECONDS, Assemble, Boot, wait_for
from program import bareflow

from bareflow_gdb.errors import BareflowError, ReadError, Unreachable, UsageError
from bareflow_gdb.guest.boot.wait import last_stage, last_words, wait_for_serial, wait_for_stage
from bareflow_gdb.memory.core import ElfCore
from bareflow_gdb.memory.dump import RawDump
from bareflow_gdb.memory.gdbstub import GdbStub
from bareflow_gdb.qemu import qmp
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.leftovers import leftovers
from bareflow_gdb.qemu.machine import Machine

# One line on COM1, a letter on the screen, and last of all a boot record at stage "idle".
IDLES = """
    mov si, text
    mov dx, 0x3f8
.next: lodsb
    test al, al
    jz .printed
    out dx, al
    jmp .next
.printed: mov ax, 0xb800
    mov es, ax
    mov word [es:0], 0x1e41
    mov dword [0x608], 14
    mov dword [0x600], 0x52424642
.halt: hlt
    jmp .halt
text: db "[serial] init ok", 10, 0
"""
HALTS = "mov dword [0x608], 15\nmov dword [0x600], 0x52424642\n.halt: hlt\njmp .halt"
COUNTS = "cli\n.turn: inc dword [0x5000]\njmp .turn"


@pytest.fixture
def idle(launched: Boot, boot_sector: Assemble) -> Machine:
    machine = launched(boot_sector(IDLES))
    wait_for_stage(machine, "idle")
    return machine


def test_a_machine_is_found_by_name_and_gone_after_stop(launched: Boot, boot_sector: Assemble) -> None:
    machine = launched(boot_sector(IDLES), name="found")
    assert Machine.find("found") == machine
    machine.stop()
    assert not machine.directory.exists()
    assert not machine.ram_path.exists()
    with pytest.raises(Unreachable, match="no machine named found"):
        Machine.find("found")


def test_who_looks_for_a_machine_that_has_ended_is_told_so(launched: Boot, boot_sector: Assemble) -> None:
    machine = launched(boot_sector(IDLES), name="ended")
    os.kill(machine.pid, signal.SIGKILL)
    wait_for(lambda: not machine.alive(), "the end of QEMU")
    with pytest.raises(Unreachable, match="QEMU of machine ended has ended; `bareflow list` shows how"):
        Machine.find("ended")
    with pytest.raises(Unreachable, match=r"no machine is running \(ended: QEMU has ended, `bareflow list` shows"):
        Machine.find(None)


def test_the_newest_machine_is_the_default(launched: Boot, boot_sector: Assemble) -> None:
    disk = boot_sector(IDLES)
    launched(disk, name="older")
    newer = launched(disk, name="newer")
    assert Machine.find(None) == newer


def test_directory_and_files_are_private(idle: Machine) -> None:
    assert stat.S_IMODE(idle.directory.stat().st_mode) == 0o700
    for path in (idle.ram_path, idle.serial_path, idle.directory / "machine.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_commas_and_other_letters_of_options_may_stand_in_a_directory(boot_sector: Assemble, tmp_path: Path) -> None:
    for name in ("a,b", "on,id=x=y", ",", "sp ace:{1}%;'\"\\"):
        machine = launch(boot_sector(IDLES), directory=tmp_path / name)
        try:
            wait_for_stage(machine, "idle")
            assert machine.name == name and machine.status() == "running"
            machine.dump_core(machine.directory / "core,1")
            assert ElfCore(machine.directory / "core,1").read(0x600, 4, "boot record") == b"BFBR"
        finally:
            machine.stop()


def test_the_serial_log_is_usable_while_the_guest_runs(idle: Machine) -> None:
    assert wait_for_serial(idle, "init ok") == "[serial] init ok\n"


def test_the_last_line_of_a_log_of_any_length_is_the_last(idle: Machine) -> None:
    with idle.serial_path.open("ab") as log:
        log.truncate(100 << 20)
        log.seek(0, os.SEEK_END)
        log.write(b"\nthe last of it\n")
    assert "the last serial line is 'the last of it'" in last_words(idle)


def test_host_reads_equal_pmemsave(idle: Machine) -> None:
    idle.pause()
    assert idle.memory().read(0, 0xA0000, "low memory") == idle.read_physical(0, 0xA0000)


def test_the_screen_is_read_through_qmp_and_not_from_the_ram_file(idle: Machine) -> None:
    assert idle.memory().screen()[:2] == b"A\x1e"
    with pytest.raises(ReadError, match="not inside the RAM"):
        idle.memory().read(0xB8000, 2, "screen")


def test_a_host_write_is_seen_by_the_machine(idle: Machine) -> None:
    idle.memory().write(0x200000, b"\x78\x56\x34\x12 and more", "test word")
    assert idle.read_physical(0x200000, 13) == b"\x78\x56\x34\x12 and more"


def test_pause_stops_the_guest_and_resume_lets_it_run(launched: Boot, boot_sector: Assemble) -> None:
    machine = launched(boot_sector(COUNTS))
    memory = machine.memory()

    def count() -> int:
        return int.from_bytes(memory.read(0x5000, 4, "counter"), "little")

    wait_for(lambda: count() > 1000, "the guest to count")
    machine.pause()
    assert machine.status() == "paused"
    before = count()
    time.sleep(0.05)
    assert count() == before
    machine.resume()
    wait_for(lambda: count() > before, "the guest to count on")


def test_a_paused_launch_has_not_run(launched: Boot, boot_sector: Assemble) -> None:
    machine = launched(boot_sector(IDLES), paused=True)
    assert machine.status() == "prelaunch"
    assert last_stage(machine) == 0
    machine.resume()
    wait_for_stage(machine, "idle")


def test_waiting_names_the_last_stage_and_the_last_serial_line(idle: Machine) -> None:
    with pytest.raises(BareflowError, match=r"within 0\.1 s; the last stage is idle.*'\[serial\] init ok'"):
        wait_for_serial(idle, "never printed", 0.1)


def test_waiting_ends_at_once_when_the_guest_halts(launched: Boot, boot_sector: Assemble) -> None:
    machine = launched(boot_sector(HALTS))
    with pytest.raises(BareflowError, match="halted before stage idle"):
        wait_for_stage(machine, "idle", SECONDS)


def test_waiting_ends_at_once_when_qemu_dies(idle: Machine) -> None:
    os.kill(idle.pid, signal.SIGKILL)
    with pytest.raises(Unreachable, match=r"QEMU of machine .* ended before the serial text"):
        wait_for_serial(idle, "never printed", SECONDS)


def test_commands_to_a_dead_qemu_fail_with_a_sentence(idle: Machine) -> None:
    memory = idle.memory()
    os.kill(idle.pid, signal.SIGKILL)
    assert idle.process.wait(SECONDS)
    with pytest.raises(Unreachable, match="has ended"):
        idle.qmp("query-status")
    with pytest.raises(ReadError, match="QEMU is gone"):
        memory.read(0x600, 4, "boot record")
    assert [machine.name for machine in Machine.stale()] == [idle.name]
    assert idle not in Machine.all()


def test_qemu_going_away_during_a_command_is_one_sentence_and_leaves_no_core(
    launched: Boot, boot_sector: Assemble, tmp_path: Path
) -> None:
    machine = launched(boot_sector(IDLES), memory_mib=1024)
    wait_for_stage(machine, "idle")

    def kill_once_it_writes() -> None:
        wait_for(lambda: any(core.stat().st_size for core in tmp_path.glob(".core*")), "the core to be begun")
        os.kill(machine.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_once_it_writes)
    killer.start()
    with pytest.raises(Unreachable, match="QEMU went away during QMP dump-guest-memory"):
        machine.dump_core(tmp_path / "core")
    killer.join()
    assert list(tmp_path.glob("*core*")) == []


def test_a_refused_command_says_so_and_the_machine_lives_on(idle: Machine) -> None:
    with pytest.raises(BareflowError, match="QEMU refused no-such-command"):
        idle.qmp("no-such-command")
    assert idle.status() == "running"


def test_a_core_holds_ram_and_registers(idle: Machine, tmp_path: Path) -> None:
    idle.pause()
    idle.dump_core(tmp_path / "core")
    core = ElfCore(tmp_path / "core")
    assert core.read(0x7C00, 512, "boot sector") == idle.read_physical(0x7C00, 512)
    assert core.ranges == ((0, 0xA0000), (0x100000, 64 << 20))
    assert core.screen() == idle.read_screen()
    cpu = core.cpu()
    assert cpu.segments["es"].base == 0xB8000
    monitor = idle.qmp("human-monitor-command", command_line="info registers")
    assert f"EIP={cpu.general['eip']:08x}" in monitor
    assert f"ESI={cpu.general['esi']:08x}" in monitor
    assert f"CR0={cpu.control['cr0']:08x}" in monitor


def test_a_core_that_cannot_be_written_leaves_nothing(idle: Machine, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not a directory"):
        idle.dump_core(tmp_path / "none" / "core")
    os.kill(idle.pid, signal.SIGKILL)
    assert idle.process.wait(SECONDS)
    with pytest.raises(Unreachable):
        idle.dump_core(tmp_path / "core")
    assert list(tmp_path.glob("*core*")) == []


def test_a_qemu_that_finds_no_room_is_told_with_the_place(
    idle: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(command: str, **arguments: Any) -> None:
        if command == "pmemsave":  # which reports no write that failed
            Path(arguments["filename"]).write_bytes(bytes(512))
            return
        raise qmp.Refused("dump: failed to save memory: No space left on device")

    monkeypatch.setattr(idle, "qmp", full)
    with pytest.raises(BareflowError, match=rf"cannot write {tmp_path}/core: .*No space left"):
        idle.dump_core(tmp_path / "core")
    with pytest.raises(Unreachable, match=rf"wrote 512 of 4,000 bytes of memory into {idle.directory}; make room"):
        idle.read_screen()
    assert list(tmp_path.glob("*core*")) == [] and list(idle.directory.glob(".pmem*")) == []


def test_a_raw_dump_reads_like_the_machine(idle: Machine, tmp_path: Path) -> None:
    idle.pause()
    path = tmp_path / "dump"
    idle.qmp("pmemsave", val=0, size=2 << 20, filename=str(path))
    dump = RawDump(path)
    assert dump.read(0x600, 64, "boot record") == idle.memory().read(0x600, 64, "boot record")
    assert dump.screen() == idle.read_screen()
    with pytest.raises(ReadError, match="not inside the RAM"):
        dump.read(4 << 20, 4, "heap")


def test_a_gdbstub_reads_and_writes_what_the_ram_holds(idle: Machine) -> None:
    memory = idle.memory()
    with GdbStub.connect(f"unix:{idle.gdb_socket}") as stub:
        assert idle.status() == "paused"
        assert stub.read(0x7C00, 512, "boot sector") == memory.read(0x7C00, 512, "boot sector")
        stub.write(0x300001, b"0123456789" * 1000, "test bytes")
        assert memory.read(0x300001, 10000, "test bytes") == b"0123456789" * 1000
        assert stub.screen() == idle.read_screen()
        with pytest.raises(ReadError, match="as far as it is looked at: it does not say how much there is"):
            stub.read(0x5000000, 4, "above 64 MB")
        with pytest.raises(Unreachable, match="is a gdb connected to it already"):
            GdbStub.connect(f"unix:{idle.gdb_socket}", timeout=0.5)
    wait_for(lambda: idle.status() == "running", "the guest to run on")


def test_a_program_that_forgets_to_close_its_stub_does_not_leave_the_guest_stopped(idle: Machine) -> None:
    program = f"""
from bareflow_gdb.memory.gdbstub import GdbStub
stub = GdbStub.connect("unix:{idle.gdb_socket}")
stub.read(0x7C00, 512, "boot sector")
from bareflow_gdb.qemu.machine import Machine
print(Machine.find("{idle.name}").status())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "paused\n"
    wait_for(lambda: idle.status() == "running", "the guest to run on")


def test_a_small_read_costs_one_packet_and_a_second_one_none(idle: Machine) -> None:
    with GdbStub.connect(f"unix:{idle.gdb_socket}") as stub:
        # Asked once for a connection: whether paging is on.
        stub.read(0x500, 16, "BIOS data")
        before = stub.packets
        stub.read(0x7C00 + 700, 64, "record")
        stub.read(0x7C00 + 800, 200, "record")
        assert stub.packets == before + 1
        stub.invalidate()
        stub.read(0x7C00 + 700, 64, "record")
        assert stub.packets == before + 2


def test_a_long_directory_still_gets_sockets(launched: Boot, boot_sector: Assemble, tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 30)
    machine = launched(boot_sector(IDLES), directory=folder)
    assert machine.status() == "running"
    sockets = machine.gdb_socket.parent
    machine.stop()
    assert not sockets.exists()
    assert not machine.ram_path.exists()
    assert sorted(path.name for path in folder.iterdir()) == ["qemu.log", "serial.log"]


def test_a_name_in_use_is_refused(launched: Boot, boot_sector: Assemble) -> None:
    launched(boot_sector(IDLES), name="taken")
    with pytest.raises(UsageError, match="there is a machine named taken already"):
        launched(boot_sector(IDLES), name="taken")


def test_the_name_of_a_machine_that_died_can_be_used_again(launched: Boot, boot_sector: Assemble) -> None:
    disk = boot_sector(IDLES)
    first = launched(disk, name="again")
    os.kill(first.pid, signal.SIGKILL)
    assert first.process.wait(SECONDS)
    second = launched(disk, name="again")
    assert second.pid != first.pid
    assert second.alive()


def test_qemu_refusing_an_option_is_told_and_leaves_nothing(launched: Boot, boot_sector: Assemble) -> None:
    with pytest.raises(BareflowError, match=r"QEMU did not start: .*Invalid shift"):
        launched(boot_sector(IDLES), name="refused", icount=40)
    assert not [machine for machine in Machine.all() + Machine.stale() if machine.name == "refused"]


@pytest.mark.parametrize("where", ["bareflow_gdb.qemu.launch.qmp.execute", "bareflow_gdb.qemu.directory.write_record"])
def test_a_launch_that_is_interrupted_leaves_neither_qemu_nor_files(
    where: str, launched: Boot, boot_sector: Assemble, own_machines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    before = set(Path("/dev/shm").glob("bareflow-halfway-*"))
    monkeypatch.setattr(where, interrupt)
    with pytest.raises(KeyboardInterrupt):
        launched(boot_sector(IDLES), name="halfway")
    assert not (own_machines / "bareflow" / "halfway").exists()
    assert set(Path("/dev/shm").glob("bareflow-halfway-*")) == before
    assert not _processes_named("halfway")


def test_a_reused_pid_is_not_taken_for_the_machine(idle: Machine) -> None:
    path = idle.directory / "machine.json"
    record = json.loads(path.read_text())
    record["pid"] = os.getpid()
    path.write_text(json.dumps(record))
    loaded = Machine.load(idle.directory)
    assert loaded is not None
    assert not loaded.alive()
    record["pid"] = idle.pid
    path.write_text(json.dumps(record))


def _processes_named(name: str) -> list[Path]:
    """QEMU processes with `-name NAME`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"qemu-system-i386" in words[0] and f"guest={name}".encode() in words:
            found.append(path)
    return found


def test_a_machine_whose_directory_was_removed_is_found_and_ended(launched: Boot, boot_sector: Assemble) -> None:
    machine = launched(boot_sector(IDLES), name="lost")
    wait_for_stage(machine, "idle")
    shutil.rmtree(machine.directory)
    assert f"QEMU of machine lost (process {machine.pid}), whose directory is gone" in bareflow("list").stdout
    assert "leftovers" in bareflow("doctor", "--host").stdout
    (left,) = (each for each in leftovers() if each.pid == machine.pid)
    assert left.ram == machine.ram_path
    asked = bareflow("status", "lost")
    assert asked.returncode == 2 and "the directory of machine lost is gone; `bareflow list` shows" in asked.stderr
    assert bareflow("stop", "lost").returncode == 0
    assert machine.process.wait(SECONDS)
    assert not machine.ram_path.exists()


def test_a_machine_whose_record_is_damaged_is_ended_by_its_name(launched: Boot, boot_sector: Assemble) -> None:
    machine = launched(boot_sector(IDLES), name="damaged")
    other = launched(boot_sector(IDLES), name="whole")
    (machine.directory / "machine.json").write_text("{")
    listed = bareflow("list")
    assert listed.returncode == 0 and "whole " in listed.stdout
    assert "`bareflow stop damaged` removes it" in listed.stdout
    assert bareflow("stop", "damaged").returncode == 0
    assert machine.process.wait(SECONDS)
    assert not machine.directory.exists() and not machine.ram_path.exists()
    assert other.alive()


def test_a_machine_that_is_stopped_is_told_so_by_list_wait_and_status(idle: Machine) -> None:
    idle.pause()
    why = "the machine is stopped (paused)"
    assert why in bareflow("list").stdout
    assert why in bareflow("status", idle.name).stderr
    with pytest.raises(BareflowError, match=r"did not reach .* the machine is stopped \(paused\)"):
        wait_for_serial(idle, "never printed", 0.1)
    idle.resume()
    assert why not in bareflow("list").stdout
