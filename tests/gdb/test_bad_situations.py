"""Guests that go, come back, are another's, or are not to be believed: one sentence, and gdb stays usable."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from gdb_harness import KERNEL, QUESTIONS, SCRIPT, Gdb
from mi_gdb import MiError, MiGdb
from rsp_proxy import RspProxy

from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.qemu.machine import Machine

Boot = Callable[..., Machine]
COMMANDS = (
    *QUESTIONS,
    "pools --check",
    "identify 0x10000",
    "identify 0xb8000",
    "header 0x200010",
    "fat cat TEST.TXT",
    "doctor",
    "jitsym",
    "release",
)


def sentences(gdb: Gdb, machine: Machine) -> dict[str, str]:
    """The error of each command ("" = none), after checking that it is one line and that gdb goes on."""
    said = {}
    with MiGdb(gdb.path, script=SCRIPT) as session:
        session.run(f"target remote {machine.gdb_socket}")
        for command in COMMANDS:
            try:
                assert "Traceback" not in session.run(f"bf {command}")
                said[command] = ""
            except MiError as error:
                said[command] = str(error)
            assert "Traceback" not in said[command] and "defect" not in said[command]
            assert "\n" not in said[command]
            assert session.run("echo alive") == "alive"
    return said


def test_in_stage_2_the_boot_record_answers(gdb: Gdb, image: Path, launched: Boot) -> None:
    machine = launched(image, paused=True)
    result = gdb.run(f"bf attach {machine.name}", "hbreak *0x7e00", "continue", "bf boot --json", "bf jit")
    assert result.json()["stage"] == "stage1"
    assert "there is no root descriptor yet: the kernel is not loaded" in result.err


def test_a_root_whose_tables_are_random_bytes_gives_no_traceback(gdb: Gdb, booted: Boot) -> None:
    machine = booted(stage="idle")
    machine.pause()
    noise = random.Random(11)
    root = Guest.attach(machine.memory()).root()
    tables = (root.module_manager, root.function_table, root.version_table, root.pools, root.status)
    for address in (*tables, root.block_table, root.mailbox, root.rings[0]):
        machine.memory().write(address, noise.randbytes(1024), "noise")
    said = sentences(gdb, machine)
    assert said["boot"] == ""


def test_qemu_killed_while_gdb_is_attached_is_one_sentence(gdb: Gdb, booted: Boot) -> None:
    machine = booted(stage="idle")
    with MiGdb(gdb.path, script=SCRIPT) as session:
        session.run(f"bf attach {machine.name}")
        session.run("bf status")
        machine.stop()
        with pytest.raises(MiError, match=r"QEMU of machine .* has ended"):
            session.run("bf jit")
        assert session.run("echo alive") == "alive"


def test_after_its_qemu_was_killed_gdb_attaches_to_the_next_machine(gdb: Gdb, booted: Boot) -> None:
    first, second = booted(stage="idle"), booted(stage="registered", hold=1)
    with MiGdb(gdb.path, script=SCRIPT) as session:
        session.run(f"bf attach {first.name}")
        first.stop()
        assert f"the guest of {first.gdb_socket} had gone" in session.run(f"bf attach {second.name}")
        assert "registered" in session.run("bf status")


def test_the_next_machine_is_not_shown_with_the_last_ones_state(gdb: Gdb, booted: Boot) -> None:
    first, second = booted(stage="idle"), booted(stage="registered", hold=1)
    result = gdb.run(f"bf attach {first.name}", "bf status", "detach", f"bf attach {second.name}", "bf status --json")
    assert result.json()["held"] is True


def test_a_guest_reset_is_seen_by_the_next_command(gdb: Gdb, booted: Boot) -> None:
    machine = booted(stage="idle")
    with MiGdb(gdb.path, script=SCRIPT) as session:
        session.run(f"bf attach {machine.name}")
        assert "idle" in session.run("bf status")
        session.run("monitor system_reset")
        session.run("hbreak *0x7e00")
        session.run("continue")
        session.wait_for_stop()
        assert "stage1" in session.run("bf boot").splitlines()[1]
        session.run("delete")
        session.run("tbreak *0x10004")
        session.run("continue")
        session.wait_for_stop()
        assert "protected" in session.run("bf boot").splitlines()[1]


def test_a_kernel_elf_of_another_build_is_named(gdb: Gdb, idle_machine: Machine, tmp_path: Path) -> None:
    other = tmp_path / "other.elf"
    data = KERNEL.read_bytes()
    note = data.index(b"\x04\0\0\0\x14\0\0\0\x03\0\0\0GNU\0") + 16
    other.write_bytes(data[:note] + bytes(20) + data[note + 20 :])
    result = gdb.run(f"bf attach {idle_machine.name}", "bf status", elf=other)
    assert "other.elf is not this guest's kernel" in result.out


def test_through_a_proxy_a_broken_connection_is_one_sentence(gdb: Gdb, idle_machine: Machine, tmp_path: Path) -> None:
    with MiGdb(gdb.path, script=SCRIPT) as session:
        with RspProxy(tmp_path / "gdb.sock", idle_machine.gdb_socket) as proxy:
            session.run(f"target remote {proxy.path}")
            session.run("bf status")
        with pytest.raises(MiError, match="bf pools: "):
            session.run("bf pools")
        assert session.run("echo alive") == "alive"
