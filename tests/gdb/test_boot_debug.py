"""Boot-time debugging on the real guest: breakpoints by stage, steps in real mode, foreign boot loaders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from gdb_harness import KERNEL, SCRIPT, Gdb
from machines import Assemble
from mi_gdb import MiError, MiGdb
from rsp_proxy import OneStep, RspProxy

from bareflow_gdb.guest.boot.boot_code import decode, stage_code
from bareflow_gdb.qemu.machine import Machine

Boot = Callable[..., Machine]
NO_BREAKPOINTS = "No breakpoints"
GONE = "(went away|does not answer|is gone|has ended|Remote communication error)"

# A boot loader as many are: it makes CS = 0x7C0, so that gdb's EIP is not an address.
FOREIGN = """
    jmp 0x7c0:(here - 0x7c00)
here:
    mov cx, 5
again:
    inc bx
    loop again
    mov dx, 0x1234
stay:
    jmp stay
"""


@pytest.fixture
def paused(image: Path, launched: Boot) -> Machine:
    """A machine before its first instruction."""
    return launched(image, paused=True)


def test_each_stage_is_reached_by_its_name_in_its_mode(gdb: Gdb, paused: Machine) -> None:
    result = gdb.run(
        f"bf attach {paused.name}",
        *[f"bf break-boot {name} --run" for name in ("stage1", "stage2", "pm", "kernel", "main")],
        "info symbol $pc",
        "maint info breakpoints",
        elf=KERNEL,
    )
    reached = [line for line in result.out.splitlines() if line.endswith(" mode")]
    assert [line.split()[0] + " " + line.split(", ")[-1] for line in reached] == [
        "stage1 real mode",
        "stage2 real mode",
        "pm protected mode",
        "kernel protected mode",
        "main protected mode",
    ]
    assert [line.split()[2] for line in reached[:2]] == ["0x00007c00", "0x00007e00"]
    assert "mov ax, 0x10" in result.out, "the first instruction in protected mode loads the data selector"
    assert "kernel_main in section .text" in result.out
    assert NO_BREAKPOINTS in result.out


def test_temporary_breakpoints_are_set_before_any_of_the_code_is_there(gdb: Gdb, paused: Machine) -> None:
    # No ELF in gdb: protected mode, kernel and kernel_main are found on the machine's disk and beside it.
    result = gdb.run(
        f"bf attach {paused.name}",
        *[f"bf break-boot {name} --json" for name in ("stage2", "pm", "kernel", "main")],
        *["continue", "bf boot --json"] * 4,
        "maint info breakpoints",
    )
    assert result.out.count("Temporary breakpoint ") == 4
    stages = [line.split('"')[3] for line in result.out.splitlines() if line.startswith('  "stage": "')]
    assert stages == ["stage2", "pm", "kernel", "main", "stage1", "verified", "protected", "kernel"]
    assert NO_BREAKPOINTS in result.out


def test_breakpoints_in_code_that_is_still_to_be_loaded_are_hardware_breakpoints(
    gdb: Gdb, paused: Machine, tmp_path: Path
) -> None:
    # Under KVM a loader would write over any other kind; the kinds in gdb's packets are Z0 and Z1.
    with RspProxy(tmp_path / "gdb.sock", paused.gdb_socket) as proxy:
        result = gdb.run(
            f"target remote {proxy.path}", "bf break-boot stage1 --run", "bf break-boot stage2", "continue"
        )
    assert "Temporary breakpoint 1, " in result.out
    assert proxy.kinds["Z1"] >= 2 and "Z0" not in proxy.kinds


def test_the_switch_to_protected_mode_is_stepped_as_the_cpu_decodes_it(
    gdb: Gdb, paused: Machine, firmware: Path
) -> None:
    switch = 0x7E00 + (firmware / "stage2.bin").read_bytes().index(b"\x0f\x22\xc0")
    record = gdb.run(f"bf attach {paused.name}", f"hbreak *{switch}", "continue", "bf step-boot 3 --json").json()
    before, jump, after, _ = record["lines"]
    assert (before["mode"], before["bits"], before["instruction"]) == ("real", 16, "mov cr0, eax")
    # CR0.PE is set, and the code is still 16-bit: 32-bit decoding would swallow the next instruction.
    assert (jump["mode"], jump["bits"]) == ("protected", 16)
    assert jump["instruction"] == f"ljmp 8:{after['linear'].replace('0x0000', '0x')}"
    assert (after["mode"], after["bits"], after["instruction"]) == ("protected", 32, "mov ax, 0x10")


def test_a_stop_that_is_told_again_is_no_step(gdb: Gdb, paused: Machine, tmp_path: Path) -> None:
    steps = ("bf break-boot stage1 --run", "bf step-boot 2 --json")
    with OneStep(tmp_path / "gdb.sock", paused.gdb_socket) as proxy:
        proxy.number, proxy.times = 2, 2
        record = gdb.run(f"target remote {proxy.path}", *steps).json()
    assert proxy.answered == 2
    assert len({line["linear"] for line in record["lines"]}) == 3


def test_virtual_8086_mode_is_told_and_16_bit_code(gdb: Gdb, booted: Boot) -> None:
    machine = booted()
    result = gdb.run(f"bf attach {machine.name}", "set var $eflags |= 1 << 17", "bf step-boot 0 --json")
    (line,) = result.json()["lines"]
    assert (line["mode"], line["bits"]) == ("virtual 8086", 16)


def test_over_runs_through_loops_and_bios_interrupts_of_stage_1(gdb: Gdb, paused: Machine) -> None:
    result = gdb.run(f"bf attach {paused.name}", "bf break-boot stage1 --run", "bf step-boot 60 --over")
    executed = [line.split("  ")[-1].strip() for line in result.out.splitlines() if " 16-bit " in line]
    assert len(executed) == 61
    assert "rep stosw word ptr es:[di], ax" in executed and "call 0x7c" in " ".join(executed)
    assert not any("BIOS" in line for line in executed)


def test_a_stage_where_the_guest_stands_is_not_run_to(gdb: Gdb, paused: Machine) -> None:
    result = gdb.run(f"bf attach {paused.name}", *["bf break-boot stage1 --run"] * 2, "bf step-boot 0")
    assert result.out.count("stage1 at 0x00007c00") == 2
    assert "=> real      16-bit  0000:7c00" in result.out


def test_main_is_not_looked_up_in_another_builds_elf(gdb: Gdb, image: Path, launched: Boot, tmp_path: Path) -> None:
    # The code is compared, not the header before it.
    data = bytearray(KERNEL.read_bytes())
    text = data.index((image.read_bytes())[9 * 512 + 64 : 9 * 512 + 128])
    data[text + 100] ^= 0xFF
    (tmp_path / "kernel.elf").write_bytes(data)
    (tmp_path / image.name).write_bytes(image.read_bytes())
    machine = launched(tmp_path / image.name, paused=True, with_disk=False)
    result = gdb.run(f"bf attach {machine.name}", "bf break-boot main")
    assert "bf break-boot: no symbol kernel_main" in result.err


CALLS = """
    call below
stay:
    jmp stay
below:
    inc bx
    ret
"""


def test_a_breakpoint_of_the_user_inside_a_call_ends_the_steps_over_it(
    gdb: Gdb, boot_sector: Assemble, launched: Boot
) -> None:
    machine = launched(boot_sector(CALLS), paused=True, with_disk=False)
    result = gdb.run(
        f"bf attach {machine.name}",
        "bf break-boot stage1 --run",
        "bf step-boot 3",
        "hbreak *0x7c0b",
        "bf step-boot 2 --over",
        "bf step-boot",
    )
    assert "breakpoint 1 stopped the guest inside call 0x7c0b" in result.out
    assert "SIGTRAP" not in result.out, "where CS has no base gdb recognises its breakpoint"
    assert "=> real      16-bit  0000:7c0b  0x00007c0b  43                  inc bx" in result.out


@pytest.fixture
def foreign(boot_sector: Assemble, launched: Boot) -> Machine:
    return launched(boot_sector(FOREIGN), paused=True, with_disk=False)


def test_where_cs_has_a_base_the_suite_steps_off_and_says_so(gdb: Gdb, foreign: Machine) -> None:
    with MiGdb(gdb.path, script=SCRIPT) as session:
        session.run(f"bf attach {foreign.name}")
        session.run("bf break-boot stage1 --run")
        # The BIOS jumps to 0:7c00; four instructions on, the code is the same and its segment another.
        assert "=> real      16-bit  07c0:000b  0x00007c0b  b90500" in session.run("bf step-boot 4")
        session.run("hbreak *0x7c11")
        session.run("continue")
        for _ in range(2):
            # gdb itself does not get away from there.
            assert session.wait_for_stop()["signal-name"] == "SIGTRAP"
            assert "=> real      16-bit  07c0:0011" in session.run("bf step-boot 0")
            session.run("continue")
        session.wait_for_stop()
        stepped = session.run("bf step-boot 2")
        assert "gdb took breakpoint 1 at 0x7c11 for a SIGTRAP and cannot continue from it; stepped off" in stepped
        assert "mov dx, 0x1234" in stepped and "=> real      16-bit  07c0:0014" in stepped
        # The breakpoint is the user's: it stays as it was.
        assert "keep y" in session.run("info breakpoints")


def test_over_works_where_gdb_does_not_recognise_the_breakpoint(gdb: Gdb, foreign: Machine) -> None:
    result = gdb.run(
        f"bf attach {foreign.name}",
        "bf break-boot stage1 --run",
        "bf step-boot 5",
        "bf step-boot 2 --over",
        "maint info breakpoints",
    )
    assert "loop 0xe" in result.out and "=> real      16-bit  07c0:0011" in result.out
    assert NO_BREAKPOINTS in result.out


FOREIGN_CALL = """
    jmp 0x7c0:(here - 0x7c00)
here:
    call below
stay:
    jmp stay
below:
    inc bx
    ret
"""


@pytest.mark.parametrize("state", ("enable", "disable"))
def test_over_begins_at_a_breakpoint_that_gdb_does_not_recognise(
    gdb: Gdb, boot_sector: Assemble, launched: Boot, state: str
) -> None:
    machine = launched(boot_sector(FOREIGN_CALL), paused=True, with_disk=False)
    result = gdb.run(
        f"bf attach {machine.name}",
        "bf break-boot stage1 --run",
        "bf step-boot 4",
        "hbreak *0x7c0b",
        f"{state} 1",
        "bf step-boot --over",
        "info breakpoints",
    )
    assert "=> real      16-bit  07c0:000b" in result.out
    assert "=> real      16-bit  07c0:000e" in result.out
    assert ("gdb took breakpoint 1 at 0x7c0b for a SIGTRAP" in result.out) is (state == "enable")
    assert f"hw breakpoint  keep {'y' if state == 'enable' else 'n'}" in result.out


def test_what_cannot_be_found_is_one_sentence(gdb: Gdb, foreign: Machine) -> None:
    result = gdb.run(
        f"bf attach {foreign.name}",
        "bf break-boot pm",
        "bf break-boot kernel",
        "bf break-boot main",
        "bf break-boot moon",
        "bf step-boot -5",
        "bf step-boot 10001",
    )
    said = result.err.strip().splitlines()
    assert [line.split(":")[0] for line in said] == ["bf break-boot"] * 4 + ["bf step-boot"] * 2
    told = ("`mov cr0`", "no kernel image", "no symbol kernel_main", "invalid choice", "-5", "0 to 10000")
    for line, words in zip(said, told, strict=True):
        assert words in line


def test_ctrl_c_on_the_way_leaves_nothing_set(gdb: Gdb, idle_machine: Machine) -> None:
    with MiGdb(gdb.path, script=SCRIPT) as session:
        session.run(f"bf attach {idle_machine.name}")
        session.start("bf break-boot stage1 --run")
        session.wait_for_running()
        session.interrupt(idle_machine)
        with pytest.raises(MiError, match="stage1 was not reached: an interrupt stopped the guest first"):
            session.result("bf break-boot stage1 --run")
        assert NO_BREAKPOINTS in session.run("maint info breakpoints")


def test_a_guest_that_is_killed_between_steps_is_one_sentence(gdb: Gdb, booted: Boot) -> None:
    machine = booted(stage="idle")
    with MiGdb(gdb.path, script=SCRIPT) as session:
        session.run(f"bf attach {machine.name}")
        session.start("bf step-boot 10000")
        for _ in range(20):
            session.wait_for_running()
        machine.stop()
        with pytest.raises(MiError, match=rf"^bf step-boot: [^\n]*{GONE}[^\n]*$"):
            session.result("bf step-boot 10000")
        assert session.run("echo alive") == "alive"


def test_a_stock_kernel_begins_at_the_first_byte_of_its_image(gdb: Gdb, firmware: Path, launched: Boot) -> None:
    machine = launched(firmware / "stock" / "stock.img", paused=True, with_disk=False)
    result = gdb.run(f"bf attach {machine.name}", "bf break-boot kernel --run", "bf break-boot main --run")
    assert "kernel at 0x00010000 (a stock image in stock.img), protected mode" in result.out
    assert "(stock.elf, beside the image), protected mode" in result.out


def test_16_bit_code_is_not_decoded_as_32_bit() -> None:
    code = bytes.fromhex("b90500e2fd")
    assert [item.text for item in decode(code, 0x10, 16, 5)] == ["mov cx, 5", "loop 0x12"]
    assert decode(code, 0x10, 32, 5)[0].text != "mov cx, 5"


@pytest.mark.parametrize(
    "switch", ("0f22c0 ea 3e82 0800", "0f22d8 0f22c1 9090 66ea 3e820000 0800"), ids=("16-bit", "32-bit")
)
def test_the_far_jump_into_protected_mode_is_found_in_either_form(switch: str) -> None:
    stage2 = bytes(100) + bytes.fromhex(switch) + bytes(4096)
    assert stage_code("pm", lambda _, size: stage2[:size], "a test").address == 0x823E
