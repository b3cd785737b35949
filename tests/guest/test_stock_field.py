"""Stock kernels as others build them: what is said is true by nm, objdump and raw memory, or it is said why not."""

from __future__ import annotations

import dataclasses
import json
import re
import struct
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from asking import FALSE_OF_STOCK, ask, record_of, text_of
from machines import SECONDS, halted, wait_for
from program import bareflow
from stock_raw import calls_of, nm, pool_words, protected, register, section

from bareflow_gdb.checks import registry as checks
from bareflow_gdb.checks.subject import Subject
from bareflow_gdb.cli.kernel_file import as_loaded
from bareflow_gdb.cli.recognise import open_path
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.absent import CANNOT_KNOW, NONE, NOT_YET, TORN_DOWN, Absent
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.doctor import check_guest
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.memory.core import ElfCore
from bareflow_gdb.memory.dump import RawDump
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.questions import registry

KERNELS = (
    "field_pools",
    "field_microjit",
    "field_modules",
    "field_bare",
    "field_demo1",
    "field_demo2",
    "field_demo3",
    "field_moved",
    "field_low",
    "field_wide",
    "field_over",
    "field_frames",
    "field_frameless",
    "field_turned",
)
CUT = ("field_cut", "field_page")
MICRO_BYTES = 23
"""Bytes that the micro-JIT of field/adaptive_jit.c emits."""

Booted = Callable[[str], Machine]
Asked = Callable[..., Guest]


@pytest.fixture(scope="module")
def booted(firmware: Path) -> Iterator[Booted]:
    """Machines by the kernel's name, each booted once, at the end of its run."""
    machines: dict[str, Machine] = {}

    def boot(kernel: str) -> Machine:
        if kernel not in machines:
            machine = launch(firmware / "stock" / f"{kernel}.img", name=kernel.replace("_", "-"), with_disk=False)
            machines[kernel] = machine
            if kernel != "field_cut":
                wait_for(lambda: halted(machine) and protected(machine), f"the halt of {kernel}", SECONDS)
        return machines[kernel]

    yield boot
    for machine in machines.values():
        machine.stop()


@pytest.fixture(scope="module")
def asked(booted: Booted, firmware: Path, tmp_path_factory: pytest.TempPathFactory) -> Asked:
    """A guest of a kernel, from RAM, a core or a raw dump, with its ELF, the stripped one or none; each once."""
    folder = tmp_path_factory.mktemp("field")

    @cache
    def guest(kernel: str, source: str = "ram", elf: str = "elf") -> Guest:
        machine = booted(kernel)
        stock = firmware / "stock"
        paths = {"elf": [stock / f"{kernel}.elf"], "stripped": [stock / f"{kernel}_stripped.elf"], "none": []}[elf]
        core, dump = folder / f"{kernel}.core", folder / f"{kernel}.dump"
        if source == "core" and not core.exists():
            machine.dump_core(core)
        if source == "dump" and not dump.exists():
            dump.write_bytes(machine.read_physical(0, 32 << 20))
        memory = {"ram": machine.memory, "core": lambda: ElfCore(core), "dump": lambda: RawDump(dump)}[source]()
        return Guest.attach(memory, elves=lambda: paths)

    return guest


SOURCES = (("ram", "elf"), ("core", "stripped"), ("dump", "none"))


@pytest.mark.parametrize("kernel", (*KERNELS, *CUT))
def test_every_question_is_answered_or_refused_in_one_sentence_from_everywhere(asked: Asked, kernel: str) -> None:
    said = []
    for source, elf in SOURCES:
        guest = asked(kernel, source, elf)
        for question in registry.every():
            words_of = {"identify": {"address": 0x10100}, "block": {"address": 0x20000}, "header": {"module": 0x16000}}
            if question.name in ("disas", "fat", "bitcode", "serial"):
                continue
            try:
                answer = ask(guest, question.name, **words_of.get(question.name, {}))
                said.append(text_of(question.name, answer.record))
                said += answer.unknown
            except BareflowError as error:
                assert "\n" not in str(error)
                said.append(str(error))
    assert not FALSE_OF_STOCK.search("\n".join(said)), said
    # It has halted: nothing comes, so nobody is told to wait for it. A dump has no registers that say so.
    halted_there = "\n".join(
        part for part in _refusals(asked, kernel, (("ram", "elf"), ("core", "none"))) if kernel != "field_cut"
    )
    assert "let the guest run on" not in halted_there and "ask again" not in halted_there


def _refusals(asked: Asked, kernel: str, sources: tuple[tuple[str, str], ...]) -> list[str]:
    found = []
    for source, elf in sources:
        guest = asked(kernel, source, elf)
        found.append(guest.kernel().status().next_step)
        found += [f"{check.found} {check.advice}" for check in check_guest(guest)]
        for question in ("modules", "pools", "jit", "profile", "swaps"):
            try:
                ask(guest, question)
            except BareflowError as error:
                found.append(str(error))
    return found


@pytest.mark.parametrize(("source", "elf"), SOURCES)
@pytest.mark.parametrize("kernel", ("field_microjit", "field_bare", "field_low", "field_pools"))
def test_pools_that_were_shut_down_are_told_as_that(
    asked: Asked, booted: Booted, firmware: Path, kernel: str, source: str, elf: str
) -> None:
    raw = pool_words(booted(kernel), firmware / "stock" / f"{kernel}.elf")
    pools = record_of(asked(kernel, source, elf), "pools").pools
    # base, size, list, total, used, free, allocations, frees, peak
    assert [(p.base, p.size, p.used, p.free, p.allocations, p.frees, p.peak) for p in pools] == [
        (0, pool[1], *pool[4:9]) for pool in raw
    ]
    assert all(pool.torn_down and not pool.blocks for pool in pools)
    underflow = raw[0][9]
    said = [f"the fragmentation statistic is {underflow:,}: it has underflowed, to {underflow - (1 << 32):,}"]
    assert list(pools[0].problems) == (said if underflow else [])
    text = text_of("pools", record_of(asked(kernel, source, elf), "pools"))
    assert TORN_DOWN in text and not re.search(r"^  code .*%", text, re.MULTILINE)
    assert all(line.torn_down for line in asked(kernel, source, elf).kernel().status().pools)


@pytest.mark.parametrize(("source", "elf"), SOURCES)
@pytest.mark.parametrize("kernel", ("field_microjit", "field_bare", "field_low", "field_turned"))
def test_code_of_a_buffer_that_was_freed_is_told_with_its_true_size(
    asked: Asked, kernel: str, source: str, elf: str
) -> None:
    guest = asked(kernel, source, elf)
    (function,) = record_of(guest, "jit").functions
    (swap,) = record_of(guest, "swaps").swaps
    assert (swap.from_level, swap.to_level, swap.code_size, swap.same_code) == (0, 1, MICRO_BYTES, True)
    assert (swap.old_code, swap.new_code) == function.level_codes[:2]
    assert [(code.level, code.size) for code in guest.kernel().jit_code()] == [(0, MICRO_BYTES), (1, MICRO_BYTES)]
    status = guest.kernel().status()
    assert status.ok and not status.problems
    answer = ask(guest, "profile")
    (profiled,) = answer.record.functions
    assert (profiled.level, profiled.address) == (1, function.current_code)
    # Two fields of one name: the adaptive JIT's own decides, the profiler's is told.
    assert answer.record.jit_enabled is record_of(guest, "jit").enabled is True
    assert any("jit_enabled, off" in text for text in answer.unknown)


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_function_of_the_elf_is_called_by_its_name(asked: Asked, firmware: Path, kernel: str) -> None:
    if kernel == "field_moved":
        pytest.skip("its ELF is linked elsewhere than it is loaded, so its addresses are not those in memory")
    guest = asked(kernel, "core", "elf")
    functions = {
        name: place for name, place in nm(firmware / "stock" / f"{kernel}.elf").items() if place[2] in "tT" and place[1]
    }
    assert functions
    wrong = {}
    # Where no record is found each address costs a search for all of them.
    step = 8 if kernel.startswith("field_demo") else 1
    for name, (address, size, _) in list(functions.items())[::step]:
        for at in (address, address + size - 1):
            found = record_of(guest, "identify", address=at)
            if (found.name, found.start) != (name, address):
                wrong[name] = (found.name, hex(found.start))
    aliases = {place[0] for place in functions.values()}
    assert not wrong or len(aliases) < len(functions), wrong


@pytest.mark.parametrize("elf", ("stripped", "none"))
@pytest.mark.parametrize("kernel", ("field_modules", "field_low"))
def test_without_names_no_function_is_called_a_module(asked: Asked, firmware: Path, kernel: str, elf: str) -> None:
    guest = asked(kernel, "core", elf)
    for name, (address, size, kind) in nm(firmware / "stock" / f"{kernel}.elf").items():
        if kind in "tT" and size and not name.startswith(("code_", "cached_")):
            for at in (address, address + size // 2, address + size - 1):
                assert "module" not in record_of(guest, "identify", address=at).name, (name, hex(at))


@pytest.mark.parametrize(("source", "elf"), (("ram", "elf"), ("core", "elf"), ("ram", "none"), ("core", "stripped")))
@pytest.mark.parametrize("kernel", KERNELS)
def test_every_caller_is_one(asked: Asked, booted: Booted, firmware: Path, kernel: str, source: str, elf: str) -> None:
    calls = calls_of(firmware / "stock" / f"{kernel}.elf")
    shift = 0xF000 if kernel == "field_moved" else 0
    stack = record_of(asked(kernel, source, elf), "stack")
    first, *callers = (int(frame.code) for frame in stack.frames)
    assert first == register(booted(kernel), "EIP")
    assert all(caller - shift in calls for caller in callers), [hex(caller) for caller in callers]
    path = [calls[caller - shift] for caller in callers]
    # All of these halt in the main function, or in what it calls to halt.
    true = ["kernel_main", "_start"] if stack.frames[0].code - shift not in _body(firmware, kernel) else ["_start"]
    assert [name.partition(".")[0] for name in path] == true[: len(path)]
    if len(path) < len(true):
        assert CANNOT_KNOW in stack.end
    elif elf == "elf":
        assert "the first frame" in stack.end


def _body(firmware: Path, kernel: str) -> range:
    address, size, _ = nm(firmware / "stock" / f"{kernel}.elf")["kernel_main"]
    return range(address, address + size)


@pytest.mark.parametrize("kernel", ("field_bare", "field_low", "field_moved", "field_demo1"))
@pytest.mark.parametrize("source", ("ram", "core"))
def test_a_kernel_without_an_interrupt_table_is_told_so(asked: Asked, kernel: str, source: str) -> None:
    guest = asked(kernel, source)
    cpu = record_of(guest, "cpu")
    assert [text for text in cpu.problems if "no IDT is loaded" in text] and not cpu.gates
    irq = record_of(guest, "irq")
    assert not any(line.handler for line in irq.lines)
    if source == "core":
        # Where the PICs send their interrupts is nowhere in memory.
        assert {line.vector for line in irq.lines} == {None}
        assert any(CANNOT_KNOW in note for note in irq.notes)


@pytest.mark.parametrize(("kernel", "count"), (("field_demo1", 1), ("field_demo2", 2), ("field_demo3", 3)))
@pytest.mark.parametrize(("source", "elf"), SOURCES)
def test_a_profile_of_any_length_is_found(asked: Asked, kernel: str, count: int, source: str, elf: str) -> None:
    guest = asked(kernel, source, elf)
    functions = sorted(record_of(guest, "profile").functions, key=lambda function: function.id)
    expected = [("fibonacci", 10), ("sum_to_n", 100), ("count_primes", 5)][:count]
    assert [(function.name, function.calls) for function in functions] == expected
    assert guest.kernel().status().variant == "stock unikernel"


def test_names_that_read_as_empty_do_not_hide_a_profile(asked: Asked) -> None:
    (function,) = record_of(asked("field_moved"), "profile").functions
    assert (function.name, function.calls) == ("function 0", 115)


@pytest.mark.parametrize("elf", ("elf", "stripped", "none"))
def test_tables_outside_the_usual_window_are_found(asked: Asked, firmware: Path, elf: str) -> None:
    places = {finding.what: finding.address for finding in ask(asked("field_wide", "ram", elf), "pools").found}
    assert places["pool table"] == nm(firmware / "stock" / "field_wide.elf")["g_pools"][0]
    assert record_of(asked("field_low", "ram", elf), "modules").count == 6
    assert asked("field_low", "dump", elf).kernel().status().variant == "stock kernel"


def test_data_over_the_stack_is_told(asked: Asked, firmware: Path) -> None:
    for kernel, name in (("field_wide", "filler"), ("field_over", "heap")):
        problems = record_of(asked(kernel), "stack").problems
        address = nm(firmware / "stock" / f"{kernel}.elf")[name][0]
        assert any(f"the kernel's {name} (0x{address:08x}" in text and "over the stack" in text for text in problems)


def test_headers_apart_from_their_code_are_found(asked: Asked, firmware: Path) -> None:
    symbols = nm(firmware / "stock" / "field_modules.elf")
    guest = asked("field_modules")
    for index, name in enumerate(("fibonacci", "sum", "compute", "primes")):
        answer = ask(guest, "header", module=name)
        report = answer.record
        assert (report.name, report.address) == (name, symbols["embedded_headers"][0] + 48 * index)
        assert (report.entry_point, report.code_size, report.problems) == (symbols[f"code_{name}"][0], 24852, ())
        assert any("stands apart" in text for text in answer.unknown)
    with pytest.raises(Absent, match=f"{NONE} header of quicksort") as refused:
        ask(guest, "header", module="quicksort")
    assert refused.value.reason == NONE


def test_a_module_is_disassembled_by_its_name(asked: Asked, firmware: Path) -> None:
    address, size, _ = nm(firmware / "stock" / "field_modules.elf")["code_quicksort"]
    listing = record_of(asked("field_modules"), "disas", place="quicksort")
    assert (listing.address, listing.size, listing.title) == (address, size, "module quicksort")


def test_what_is_not_there_is_one_of_four_different_answers(asked: Asked, firmware: Path) -> None:
    with pytest.raises(Absent, match=f"{NONE} FAT16 state: its ELF has none of") as none:
        asked("field_demo1").places.find("FAT16 state")
    with pytest.raises(Absent, match=CANNOT_KNOW) as unknown:
        ask(asked("field_moved", "ram", "none"), "pools")
    early = launch(firmware / "stock" / "field_bare.img", with_disk=False, paused=True)
    try:
        with pytest.raises(BareflowError, match=r"is there|not loaded") as waiting:
            ask(Guest.attach(early.memory()), "pools")
    finally:
        early.stop()
    assert (none.value.reason, unknown.value.reason) == (NONE, CANNOT_KNOW)
    assert "let the guest run on" not in str(none.value) + str(unknown.value)
    assert NOT_YET not in str(none.value) + str(unknown.value) and str(waiting.value)
    assert TORN_DOWN in text_of("pools", record_of(asked("field_bare"), "pools"))


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_doctor_asks_for_each_part_by_itself(asked: Asked, kernel: str) -> None:
    checks = {check.part: check for check in check_guest(asked(kernel))}
    assert not [check for check in checks.values() if check.state == "fails"]
    works = {part for part in ("modules", "pools", "jit", "profile") if checks[part].state == "works"}
    demo = kernel.startswith(("field_demo", "field_moved"))
    assert works == ({"profile"} if demo else {"modules", "pools", "jit", "profile"})
    assert not any("nothing to read tables from" in check.found for check in checks.values())


@pytest.mark.parametrize(("kernel", "section"), (("field_cut", ".rodata"), ("field_page", ".modules")))
@pytest.mark.parametrize("elf", ("elf", "none"))
def test_a_load_that_was_cut_off_is_told_by_the_elf_and_by_the_disk(
    asked: Asked, booted: Booted, firmware: Path, kernel: str, section: str, elf: str
) -> None:
    machine = booted(kernel)
    image = (firmware / "stock" / f"{kernel}.img").read_bytes()[9 * 512 :].rstrip(b"\0")
    # What the loader was told to read, by its own code: mov cx, SECTORS.
    stage2 = (firmware / "stock" / f"{kernel}.img").read_bytes()[512 : 9 * 512]
    read = struct.unpack_from("<H", stage2, stage2.index(b"\x66\xb8\x09\0\0\0\xb9") + 7)[0]
    last = 512 * (read - 1)
    sector = image[last : last + 512]
    wait_for(lambda: machine.read_physical(0x10000 + last, 512) == sector, "the last sector in memory")
    boot = asked(kernel, "ram", elf).kernel().loaded(machine.image)
    (problem,) = boot.problems
    assert f"the load is cut off: from 0x{0x10000 + 512 * read:08x}, in" in problem
    assert f"the loader read {read} sectors" in problem
    assert (f"in {section}," in problem) == (elf == "elf")


def test_a_whole_load_has_no_finding(asked: Asked, booted: Booted) -> None:
    for kernel in ("field_bare", "field_low", "field_frames"):
        boot = asked(kernel).kernel().loaded(booted(kernel).image)
        assert boot.ok and [part.name for part in boot.parts if not part.different][:1] == [".text"]
        assert boot.kernel == (0x1000 if kernel == "field_low" else 0x10000)


@pytest.mark.parametrize(
    ("words_of", "said"),
    (
        (("wait", "NAME", "idle"), "whose loader keeps no boot record"),
        (("release", "NAME"), "which cannot be held"),
        (("trace", "record", "NAME", "--source", "ring", "--out", "OUT"), "which has no event ring to record"),
        (("events", "NAME"), "it records no events"),
        (("serve", "NAME"), "it asks for no code; `bareflow recompile` installs some"),
    ),
)
@pytest.mark.parametrize("paused", (False, True))
def test_what_cannot_come_is_not_waited_for(
    booted: Booted, firmware: Path, tmp_path: Path, words_of: tuple[str, ...], said: str, paused: bool
) -> None:
    if paused and words_of[0] in ("events", "serve"):
        pytest.skip("no kernel is in memory yet, which is what they say")
    image = firmware / "stock" / "field_bare.img"
    machine = launch(image, with_disk=False, paused=True) if paused else booted("field_bare")
    try:
        names = {"NAME": machine.name, "OUT": str(tmp_path / "trace")}
        done = bareflow(*(names.get(word, word) for word in words_of))
    finally:
        if paused:
            machine.stop()
    assert done.returncode == 2 and said in done.stderr, done.stderr


def test_the_serial_text_of_a_core_is_not_sent_in_a_circle(asked: Asked) -> None:
    from asking import GuestContext, options_of

    question = registry.load("serial")
    with pytest.raises(BareflowError) as refused:
        question.answer(GuestContext(asked("field_bare", "core")), options_of(question))
    assert "`serial`" not in str(refused.value) and "COM1" in str(refused.value)


def test_the_answers_are_json_too(asked: Asked) -> None:
    from bareflow_gdb.render.jsonable import dumps_answer

    for question in ("status", "pools", "jit", "swaps", "profile", "stack", "irq"):
        answer: Any = ask(asked("field_microjit", "core"), question)
        assert json.loads(dumps_answer(answer)) and dataclasses.is_dataclass(answer.record)


MICRO = {"frozen_count", "records", "registers_kept", "equal_tiers"}
BAD: dict[str, set[str]] = {
    "field_pools": set(),
    "field_microjit": MICRO,
    "field_modules": {"stubs"},
    "field_bare": MICRO | {"interrupt_table"},
    "field_low": MICRO | {"interrupt_table", "stubs", "descriptors"},
    "field_demo1": {"interrupt_table"},
    "field_moved": {"interrupt_table", "slide"},
    "field_wide": {"data_over_stack"},
    "field_over": {"data_over_stack"},
    "field_frames": set(),
    "field_turned": MICRO,
    # It ran into code that was never loaded.
    "field_page": {"loaded", "printed_exception"},
}
"""The checks that find something wrong at the halt."""


def found_in(asked: Asked, booted: Booted, kernel: str, source: str, elf: str) -> tuple[Finding, ...]:
    machine = booted(kernel)
    with_log = {"machine": machine, "serial": machine.serial} if source == "ram" else {}
    found = checks.run(Subject(asked(kernel, source, elf).kernel, **with_log))
    assert not [check for check in found.checks if check.state == "could not look"]
    return found.findings


@pytest.mark.parametrize(("source", "elf"), SOURCES)
@pytest.mark.parametrize("kernel", BAD)
def test_the_defects_of_each_kernel_are_found_and_no_others(
    asked: Asked, booted: Booted, kernel: str, source: str, elf: str
) -> None:
    # A dump has no registers; without ELF or disk nothing tells how much was to be loaded.
    unknown = {"interrupt_table", "loaded", "descriptors"} if source == "dump" else set()
    findings = found_in(asked, booted, kernel, source, elf)
    assert {finding.check for finding in findings if finding.bad} == BAD[kernel] - unknown, findings


@pytest.mark.parametrize(("source", "elf"), SOURCES)
def test_findings_are_true_by_nm_readelf_and_raw_memory(
    asked: Asked, booted: Booted, firmware: Path, source: str, elf: str
) -> None:
    stock = firmware / "stock"
    (lost, _), (frozen,) = (
        [one for one in found_in(asked, booted, "field_microjit", source, elf) if one.check == check]
        for check in ("registers_kept", "frozen_count")
    )
    # mov ebx, 1: eight bytes into the code that the micro-JIT emits.
    assert booted("field_microjit").read_physical(int(lost.where, 16) - 7, MICRO_BYTES)[7:12] == b"\xbb\1\0\0\0"
    assert "overwrites EBX (`mov ebx, 1`" in frozen.evidence and frozen.where == "100 calls"
    # COM1 counts on: with the log there are two witnesses.
    assert ("it printed call 101, 100 are counted" in frozen.evidence) == (source == "ram")
    stubs = [one for one in found_in(asked, booted, "field_modules", source, elf) if one.check == "stubs"]
    symbols = nm(stock / "field_modules.elf")
    assert {int(one.where, 16) for one in stubs} == {
        symbols[f"code_{name}"][0] for name in ("fibonacci", "sum", "compute", "quicksort", "strops")
    }
    (over,) = (one for one in found_in(asked, booted, "field_wide", source, elf) if one.check == "data_over_stack")
    start, end = section(stock / "field_wide.elf", ".bss")
    assert over.where == f"0x{start:08x}-0x{end:08x}" and "the screen" in over.evidence
    (slide,) = (one for one in found_in(asked, booted, "field_moved", source, elf) if one.check == "slide")
    linked, _ = section(stock / "field_moved.elf", ".text")
    assert slide.what == f"the kernel is linked at 0x{linked:x}, but loaded at 0x10000"
    down = [one for one in found_in(asked, booted, "field_bare", source, elf) if one.check == "torn_down"]
    assert [(one.bad, one.where) for one in down] == [(False, "code, data, metadata")]


@pytest.mark.parametrize(
    ("file", "said"),
    (
        ("field_microjit.elf", {"registers_kept"}),
        ("field_low.elf", {"registers_kept", "stubs"}),
        ("field_low.img", {"stubs"}),
        ("field_modules.img", {"stubs"}),
        ("field_wide_stripped.elf", {"data_over_stack"}),
        ("field_over.img", {"data_over_stack"}),
        ("stock.elf", set()),
        ("stock.img", set()),
        ("stock_unikernel.img", set()),
    ),
)
def test_the_file_of_a_kernel_tells_its_defects_before_it_runs(firmware: Path, file: str, said: set[str]) -> None:
    target = as_loaded(open_path(firmware / "stock" / file))
    elves = [target.path] if target.path is not None and file.endswith(".elf") else []
    findings = checks.run(Subject(Guest.attach(target.memory, elves=lambda: elves).kernel)).findings
    assert {finding.check for finding in findings} == said
    for finding in findings:
        if finding.check == "registers_kept":
            address, size, _ = nm(firmware / "stock" / file)["emitted"]
            assert address <= int(finding.where, 16) < address + size == address + MICRO_BYTES


def test_a_file_of_ours_holds_no_guest_memory(firmware: Path) -> None:
    for file in ("kernel.elf", "fluid.img", "fat16.img"):
        assert as_loaded(open_path(firmware / file)).source is None


@pytest.mark.parametrize("kernel", ("field_moved", "field_bare"))
def test_defects_are_told_by_status_doctor_and_checks_with_exit_code_1(booted: Booted, kernel: str) -> None:
    machine = booted(kernel)
    said = {"field_moved": "is linked at 0x1000, but loaded at 0x10000", "field_bare": "stands still since its swap"}
    for verb in ("status", "checks", "doctor"):
        done = bareflow(verb, machine.name, COLUMNS="400")
        assert done.returncode == 1 and said[kernel] in done.stdout, done.stdout + done.stderr
