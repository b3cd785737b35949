"""Stock kernels before, at and after a swap: every answer from RAM, core and dump is what raw memory and nm say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from asking import FALSE_OF_STOCK, ask, record_of, text_of
from machines import Boot
from stock_raw import RawJit, Walk, calls_of, function_at, nm, pool_words, register, section, walked

from bareflow_gdb.checks import registry as checks
from bareflow_gdb.checks.subject import Subject
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.absent import CANNOT_KNOW
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.memory.core import ElfCore
from bareflow_gdb.memory.dump import RawDump
from bareflow_gdb.memory.process_ram import ProcessRam
from bareflow_gdb.memory.protocol import Memory
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.questions import registry

MOMENTS = ("early", "before", "at", "after", "halted")
SAME = frozenset({"registers_kept", "equal_tiers"})
Bad = dict[str, frozenset[str]]


def always(*names: str) -> Bad:
    return dict.fromkeys(MOMENTS, frozenset(names))


def both(*parts: Bad) -> Bad:
    return {moment: frozenset().union(*(part[moment] for part in parts)) for moment in MOMENTS}


NOTHING = always()
# Before anything is emitted its template in the ELF tells.
MICRO = always("registers_kept") | {"at": SAME, "after": SAME, "halted": SAME | {"frozen_count", "records"}}
STUBS = always("stubs")
NO_IDT = always("interrupt_table") | {"early": frozenset()}
# It clears its .bss over the loader's descriptor table.
GDT = always("descriptors") | {"early": frozenset()}
BAD = {
    "field_pools": NOTHING,
    "field_microjit": MICRO,
    "field_modules": STUBS,
    "field_bare": both(MICRO, NO_IDT),
    "field_low": both(MICRO, NO_IDT, STUBS, GDT),
    "field_frameless": NOTHING,
    "field_turned": MICRO,
    "field_wide": always("data_over_stack"),
    "field_over": always("data_over_stack"),
    "field_page": always("loaded"),
}
"""The checks that find something wrong at each moment."""
DEMOS = {"field_demo1": frozenset[str](), "field_demo3": frozenset[str](), "field_moved": frozenset({"slide"})}
"""The same of kernels that only measure, without an interrupt table."""
REGISTERS = {"interrupt_table", "loaded", "descriptors"}
"""What bare memory cannot tell: it has no registers, and nothing says how much was to be loaded."""
STAGES = {"early": "loaded", "before": "registered", "at": "running", "after": "running", "halted": "running"}
ARGUMENTS: dict[str, dict[str, object]] = {
    "block": {"address": 0x20000},
    "header": {"module": "fibonacci"},
    "identify": {"address": 0x10100},
    "disas": {"place": "0x10010"},
    "bitcode": {"function": "primes"},
    "fat": {"action": "list"},
}


@pytest.mark.parametrize("kernel", BAD)
def test_every_moment_is_told_as_it_is(firmware: Path, launched: Boot, tmp_path: Path, kernel: str) -> None:
    stock = firmware / "stock"
    elf, stripped = stock / f"{kernel}.elf", stock / f"{kernel}_stripped.elf"
    named = stock / "field_frames.elf" if kernel == "field_frameless" else elf
    machine = launched(stock / f"{kernel}.img", with_disk=False, paused=True)
    base = 0x1000 if kernel == "field_low" else 0x10000
    with walked(machine, named, stock / "stock_twin.elf") as walk:
        for moment in walk.moments(base):
            if kernel == "field_page" and moment == "halted":
                # It ran into code that was never loaded, and its stack is not what it was.
                break
            for memory, elves in _sources(machine, moment, tmp_path, elf, stripped, _end(kernel, elf)):
                guest = Guest.attach(memory, elves=elves)
                _records(guest, walk, moment)
                if not isinstance(memory, RawDump | ProcessRam):
                    _code(guest, walk, named=memory.live)
                _findings(guest, walk, BAD[kernel][moment])
                if moment == "early" or isinstance(memory, ElfCore):
                    _every_question(guest)


def _end(kernel: str, elf: Path) -> int:
    """Of the memory that holds all of the kernel's tables."""
    return section(elf, ".bss")[1] if kernel == "field_wide" else 0xA0000


@pytest.mark.parametrize("kernel", DEMOS)
def test_every_moment_of_a_profile_is_told_as_it_is(
    firmware: Path, launched: Boot, tmp_path: Path, kernel: str
) -> None:
    stock = firmware / "stock"
    elf, stripped = stock / f"{kernel}.elf", stock / f"{kernel}_stripped.elf"
    machine = launched(stock / f"{kernel}.img", with_disk=False, paused=True)
    with walked(machine, elf, stock / "stock_twin.elf") as walk:
        for moment in walk.profile_moments(0x10000):
            at = {"empty": "before", "within": "at", "between": "after"}.get(moment, moment)
            for memory, elves in _sources(machine, at, tmp_path, elf, stripped):
                guest = Guest.attach(memory, elves=elves)
                found = _profile(guest, walk, moment, named=kernel != "field_moved")
                if not isinstance(memory, RawDump | ProcessRam) and kernel != "field_moved":
                    _code(guest, walk, named=memory.live)
                # Until it has done something it may still load one.
                no_idt = frozenset({"interrupt_table"} if found else ())
                _findings(guest, walk, DEMOS[kernel] | no_idt)
                if moment == "early" or isinstance(memory, ElfCore):
                    _every_question(guest)


def _profile(guest: Guest, walk: Walk, moment: str, *, named: bool) -> bool:
    """Is there a profile? It is compared with raw memory."""
    for question in ("jit", "swaps", "pools", "modules"):
        with pytest.raises(BareflowError):
            ask(guest, question)
    raw = walk.raw_profile() if moment != "early" else []
    # An entry without a name that was never called looks like none.
    if not raw or not (named or raw[0][0]):
        with pytest.raises(BareflowError) as refused:
            ask(guest, "profile")
        assert "has halted" not in str(refused.value)
        return False
    functions = sorted(record_of(guest, "profile").functions, key=lambda one: one.id)
    told = [(one.calls, one.total_cycles, one.min_cycles, one.max_cycles) for one in functions]
    assert told == [(calls, total, least if calls else None, most) for calls, total, least, most in raw]
    names = ["fibonacci", "sum_to_n", "count_primes"] if named else ["function 0"]
    assert [one.name for one in functions] == names[: len(raw)]
    assert record_of(guest, "status").stage == "running"
    return True


def test_a_load_that_was_cut_off_is_told_before_the_kernel_runs_into_it(
    firmware: Path, launched: Boot, tmp_path: Path
) -> None:
    stock = firmware / "stock"
    elf = stock / "field_cut.elf"
    machine = launched(stock / "field_cut.img", with_disk=False, paused=True)
    with walked(machine, elf, stock / "stock_twin.elf") as walk:
        walk.to(0x10004)
        for memory, elves in _sources(machine, "at", tmp_path, elf, stock / "field_cut_stripped.elf"):
            guest = Guest.attach(memory, elves=elves)
            if not isinstance(memory, RawDump | ProcessRam):
                _code(guest, walk, named=memory.live)
            _findings(guest, walk, frozenset({"loaded"}))
            _every_question(guest)


def _sources(
    machine: Machine, moment: str, folder: Path, elf: Path, stripped: Path, end: int = 0xA0000
) -> Iterator[tuple[Memory, Callable[[], Iterable[Path]]]]:
    """RAM with the ELF, a dump without any, a core with the stripped one: all at the swap, elsewhere one of them.

    At the end also the RAM inside the QEMU process, as that of a QEMU is read that `bareflow run` did not start.
    """
    if moment in ("early", "at", "halted"):
        yield machine.memory(), lambda: [elf]
    if moment == "halted":
        with closing(ProcessRam(machine.pid)) as memory:
            yield memory, lambda: [stripped]
    if moment in ("before", "at"):
        (folder / "dump").write_bytes(machine.read_physical(0, end))
        yield RawDump(folder / "dump"), tuple
    if moment in ("at", "after"):
        machine.dump_core(folder / "core")
        yield ElfCore(folder / "core"), lambda: [stripped]


def _records(guest: Guest, walk: Walk, moment: str) -> None:
    """Status, JIT, profile, swaps and pools against the words of the records."""
    status = record_of(guest, "status")
    assert status.stage == STAGES[moment]
    # Of bare memory there are no registers that would say so.
    knows = not isinstance(guest.memory, RawDump | ProcessRam)
    assert status.halted == (moment == "halted" if knows else None)
    if moment == "early":
        for question in ("jit", "pools"):
            with pytest.raises(BareflowError, match=r"\(yet\)|CPU"):
                ask(guest, question)
        return
    raw = walk.raw_jit()
    function = record_of(guest, "jit").functions[0]
    assert (function.slot, function.current_code, function.calls) == (raw.slot, raw.current, raw.calls)
    assert tuple(map(int, function.level_codes)) == raw.codes
    assert function.level == (1 if moment == "at" else raw.level) == raw.codes.index(raw.current)
    profiled = next(one for one in record_of(guest, "profile").functions if one.name == function.name)
    assert (profiled.calls, profiled.level, profiled.address) == (raw.calls, function.level, raw.current)
    _swaps(guest, walk, raw, function.level)
    pools = record_of(guest, "pools").pools
    assert [(p.base, p.size, p.used, p.free, p.allocations, p.frees, p.peak) for p in pools] == [
        (pool[0], pool[1], *pool[4:9]) for pool in pool_words(walk.machine, walk.elf)
    ]


def _swaps(guest: Guest, walk: Walk, raw: RawJit, level: int) -> None:
    swaps = [swap for swap in record_of(guest, "swaps").swaps if swap.function == "fibonacci"]
    assert [(swap.from_level, swap.to_level) for swap in swaps] == [(to - 1, to) for to in range(1, level + 1)]
    for swap in swaps:
        assert (swap.old_code, swap.new_code) == (raw.codes[swap.from_level], raw.codes[swap.to_level])
        old, new = (walk.machine.read_physical(code, swap.code_size) for code in (swap.old_code, swap.new_code))
        assert swap.same_code == (old == new)


def _code(guest: Guest, walk: Walk, named: bool) -> None:
    """Registers, callers and names against QEMU's monitor, objdump and nm."""
    eip = register(walk.machine, "EIP")
    cpu = record_of(guest, "cpu")
    assert (cpu.registers.eip, cpu.registers.esp) == (eip, register(walk.machine, "ESP"))
    stack = record_of(guest, "stack")
    first, *callers = (int(frame.code) for frame in stack.frames)
    calls = calls_of(walk.elf)
    # Nothing of the kernel is called JIT code.
    assert not [frame.place for frame in stack.frames if frame.place.function and function_at(walk.elf, frame.code)]
    assert first == eip and all(caller in calls for caller in callers), [hex(caller) for caller in callers]
    assert callers or CANNOT_KNOW in stack.end or function_at(walk.elf, eip) == "_start"
    if named and guest.kernel().elf():
        assert record_of(guest, "identify", address=eip).name == function_at(walk.elf, eip)


def _findings(guest: Guest, walk: Walk, expected: frozenset[str]) -> None:
    found = checks.run(Subject(guest.kernel))
    assert not [check for check in found.checks if check.state == "could not look"]
    bad = {finding.check for finding in found.findings if finding.bad}
    assert bad == expected - (REGISTERS if isinstance(guest.memory, RawDump | ProcessRam) else set()), found.findings
    for finding in found.findings:
        if finding.check == "registers_kept":
            # mov ebx, imm32 in the emitted code, by its byte in raw memory.
            assert walk.machine.read_physical(int(finding.where, 16), 5) == b"\xbb\x01\0\0\0"
        elif finding.check == "stubs":
            symbol = nm(walk.elf)["code_" + finding.what.split()[1]]
            assert int(finding.where, 16) == symbol[0] and f"after {symbol[1]} bytes" in finding.evidence
        elif finding.check == "frozen_count":
            assert "overwrites EBX" in finding.evidence and finding.where == f"{walk.raw_jit().calls} calls"


def _every_question(guest: Guest) -> None:
    """An answer, or one sentence; nothing that is known to be false of these kernels."""
    said = []
    for question in registry.every():
        try:
            answer = ask(guest, question.name, **ARGUMENTS.get(question.name, {}))
            said += [text_of(question.name, answer.record), *answer.unknown]
        except BareflowError as error:
            assert "\n" not in str(error)
            said.append(str(error))
    text = "\n".join(said)
    assert not FALSE_OF_STOCK.search(text), text
