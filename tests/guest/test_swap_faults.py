"""The swap sanitizer works: every fault is found by the checks that are there for it, every flipped bit is found or
changes no result, and a healthy guest has no finding.

One guest is booted; faults are written into a copy of it, as a faulty kernel, compiler or host would leave them. The
copy keeps the build id and the symbols of the healthy kernel: checks see memory, events, registers and the log only.
`make mutations` flips 1,000 bits, and lets a guest make 10,000 swaps.
"""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from guest_copy import GuestCopy
from machines import SECONDS, Boot, wait_for
from swap_fault import Fault
from swap_faults import FAULTS
from swap_mutations import KINDS, Places, flip, results
from swap_tables import SwapTables

from bareflow_gdb.abi import layouts
from bareflow_gdb.checks import registry
from bareflow_gdb.checks.subject import Subject
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.qemu.machine import Machine

TABLE = Path(__file__).resolve().parents[2] / "build" / "swap-faults.md"
SWAPS = int(os.environ.get("SWAPS", "96"))
BITS = int(os.environ.get("MUTATIONS", "42"))
SEED = int(os.environ.get("SEED", "20260101"))
KINDS_OF_FAULTS = 24
DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "checks.md"


@pytest.fixture(scope="module")
def copy(idle_machine: Machine) -> GuestCopy:
    return GuestCopy(idle_machine)


def found_by(copy: GuestCopy, fault: Fault) -> tuple[str, ...]:
    """The checks that have findings once the fault is in the copy, which is healthy again afterwards."""
    with copy.undone():
        fault.inject(SwapTables(copy))
        return tuple(sorted({finding.check for finding in copy.findings().findings if finding.bad}))


def test_every_fault_is_found_by_the_checks_that_are_there_for_it(copy: GuestCopy) -> None:
    assert copy.findings().findings == ()
    rows = [(fault, found_by(copy, fault)) for fault in FAULTS]
    lines = [f"| {fault.name} | {', '.join(found) or 'nothing'} |" for fault, found in rows]
    TABLE.write_text("\n".join(["| fault | found by |", "|---|---|", *lines, ""]))
    assert [(fault.name, found) for fault, found in rows if not set(fault.detectors) <= set(found)] == []
    assert len({fault.name for fault in FAULTS}) == len(FAULTS) >= KINDS_OF_FAULTS
    assert copy.findings().findings == (), "the copy is as it was"


def test_the_document_names_every_fault_with_its_checks() -> None:
    rows = [f"| {one.name} | {', '.join(f'`{check}`' for check in one.detectors)} |" for one in FAULTS]
    text = DOCUMENT.read_text()
    assert [row for row in rows if row not in text] == []


def test_every_flipped_bit_is_found_or_changes_no_result(copy: GuestCopy) -> None:
    tables = SwapTables(copy)
    right = results(copy, tables)
    assert right == {function.name: function.expected for function in tables.functions.values()}
    outcomes: Counter[tuple[str, bool]] = Counter()
    missed = []
    for mutation in itertools.islice(Places(tables).choose(SEED), BITS):
        with copy.undone():
            flip(copy, mutation)
            found = not copy.findings().ok
            outcomes[mutation.kind, found] += 1
            if not found and results(copy, tables) != right:
                missed.append(str(mutation))
    told = [f"{kind}: {outcomes[kind, True]} found, {outcomes[kind, False]} harmless" for kind in KINDS]
    print("\n".join([f"{BITS} flipped bits, seed {SEED}", *told]))
    assert missed == []
    for kind in ("slot", "code", "image header"):
        assert not outcomes[kind, False], f"a flipped bit of the {kind} is not found: {told}"


def test_swaps_of_a_healthy_guest_have_no_finding_while_they_are_made(booted: Boot) -> None:
    """Every function is forced through all tiers, again and again: code is freed, and its memory used again."""
    machine = booted()
    memory = machine.memory()
    guest = Guest.attach(memory)
    root, functions = guest.root(), guest.kernel().functions()
    doorbell = root.mailbox + layouts.offset("bf_mailbox", "doorbell")
    slot = layouts.size("bf_mail_slot")
    controls = [
        layouts.const("BF_MAILBOX_SLOTS") + one.index * slot + layouts.offset("bf_mail_slot", "control")
        for one in functions
    ]
    allow, force = layouts.const("BF_CONTROL_ALLOW"), layouts.const("BF_CONTROL_FORCE")

    def obeyed() -> bool:
        return all(int.from_bytes(memory.read(at, 4, "control"), "little") == allow for at in controls)

    subject = Subject(guest.kernel, machine=machine, serial=machine.serial)
    before = subject.counters.swap_count
    for turn in range(-(-SWAPS // len(functions))):
        for at in controls:
            memory.write(at + 4, (turn % 4).to_bytes(4, "little"), "tier")
            memory.write(at, force.to_bytes(4, "little"), "control")
        memory.write(doorbell, (1).to_bytes(4, "little"), "doorbell")
        if turn % 4 == 0:
            subject = subject.again()
            assert [str(one) for one in registry.run(subject).findings] == []
        wait_for(obeyed, "the guest to swap")
    subject = subject.again()
    assert [str(one) for one in registry.run(subject).findings] == []
    assert subject.counters.swap_count - before >= SWAPS


def test_a_fault_of_a_running_guest_is_told_while_it_is_followed(booted: Boot) -> None:
    machine = booted()
    command = [sys.executable, "-m", "bareflow_gdb.cli.main", "checks", "--follow", machine.name]
    following = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    try:
        code = next(one for one in Guest.attach(machine.memory()).kernel().jit_code() if one.name == "primes@O3")
        machine.memory().write(code.code + 20, b"\x90", "code")
        assert following.stdout is not None
        assert "the code of primes@O3 #24 was changed after it was emitted" in following.stdout.readline()
        machine.stop()
        assert following.wait(SECONDS) == 1
    finally:
        following.kill()
        following.communicate()
