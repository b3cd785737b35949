"""A stop in JIT code of a stock kernel shows its name at once: no command of the suite was given, no packet is sent."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from gdb_harness import SCRIPT, Gdb
from machines import Boot
from mi_gdb import MiGdb
from rsp_proxy import RspProxy
from stock_raw import jit_offsets, nm

from bareflow_gdb.qemu import directory as places

STEPS = 8


def to_code(firmware: Path, kernel: str) -> tuple[str, ...]:
    """Plain gdb commands to the first call of the first function's O0 code, by nm and the twin's types."""
    stock = firmware / "stock"
    slot = jit_offsets(stock / "stock_twin.elf")["slot"]
    return (
        f"thbreak *{nm(stock / f'{kernel}.elf')['adaptive_jit_execute'][0]}",
        "continue",
        f"set $slot = *(unsigned int *) ($esp + 4) + {slot}",
        "thbreak **(unsigned int *) $slot",
        "continue",
    )


@pytest.mark.parametrize(
    ("kernel", "elf"), (("stock", "elf"), ("field_bare", "stripped"), ("field_low", ""), ("field_modules", ""))
)
def test_the_first_stop_in_jit_code_shows_its_name(
    gdb: Gdb, firmware: Path, launched: Boot, kernel: str, elf: str
) -> None:
    stock = firmware / "stock"
    machine = launched(stock / f"{kernel}.img", with_disk=False, paused=True)
    result = gdb.run(
        f"target remote {machine.gdb_socket}",
        *to_code(firmware, kernel),
        "watch *(unsigned int *) $slot",
        "continue",
        "delete",
        "thbreak **(unsigned int *) $slot",
        "continue",
        elf={"elf": stock / f"{kernel}.elf", "stripped": stock / f"{kernel}_stripped.elf"}.get(elf),
    )
    assert "Traceback" not in result.out + result.err
    for tier in ("O0", "O1"):
        # By gdb, or ahead of it where it takes the code for the data of the ELF that it lies in.
        named = rf"^(Temporary breakpoint \d, 0x\w+ in \w+@{tier} \(\)|in \w+@{tier}; gdb takes this code for .*)$"
        assert len(re.findall(named, result.out, re.MULTILINE)) == 1, result.out + result.err


@pytest.mark.parametrize("elf", (False, True))
def test_those_stops_cost_no_packet_more(gdb: Gdb, firmware: Path, launched: Boot, tmp_path: Path, elf: bool) -> None:
    cost = {}
    for suite in (False, True):
        machine = launched(firmware / "stock" / "field_bare.img", with_disk=False, paused=True)
        with RspProxy(tmp_path / "gdb.sock", machine.gdb_socket) as proxy:
            places.write_record(machine.directory, {**machine.record(), "gdb_socket": str(proxy.path)})
            with MiGdb(gdb.path, script=SCRIPT if suite else None) as session:
                if elf:
                    session.run(f"file {firmware / 'stock' / 'field_bare.elf'}")
                session.run(f"target remote {proxy.path}")
                for command in to_code(firmware, "field_bare"):
                    session.run(command)
                    if command == "continue":
                        session.wait_for_stop()
                before = proxy.sent
                for _ in range(STEPS):
                    session.run("stepi")
                    session.wait_for_stop()
                cost[suite] = proxy.sent - before
                named = "@O0" in session.run("info symbol $pc")
                assert named == suite
        places.write_record(machine.directory, machine.record())
    assert cost[True] <= cost[False], "gdb 13 needs fewer, where the unwinder saves it a look at the code"
