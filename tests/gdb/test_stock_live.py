"""Debugging a stock kernel while it runs: breakpoints that follow a function across swaps, frames, single questions."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path

import pytest
from gdb_harness import SCRIPT, Gdb
from machines import Boot, wait_for_halt
from mi_gdb import MiError, MiGdb
from stock_twin import symbols

from bareflow_gdb.guest.boot.wait import wait_for_serial
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.qemu.machine import Machine

KERNEL_END = "--- END JSON ---"
SYMBOLS = ("stock.elf", "stock_twin.elf")
CALLERS = ["adaptive_jit_execute", "run_adaptive", "kernel_main"]


@pytest.fixture
def stock(firmware: Path) -> Path:
    """The directory of the stock kernels."""
    return firmware / "stock"


@pytest.fixture
def paused(stock: Path, launched: Boot) -> Machine:
    """A machine that has not run one instruction."""
    return launched(stock / "stock.img", with_disk=False, paused=True)


@pytest.fixture
def to_first_call(stock: Path, paused: Machine) -> tuple[str, ...]:
    """Commands of gdb after which all functions are registered and none was called through the JIT yet."""
    address = symbols(stock / "stock.elf")["adaptive_jit_execute"]
    return (f"bf attach {paused.name}", f"thbreak *{address}", "continue")


def codes_of(machine: Machine, function: str) -> list[int]:
    """O0 to O3 of a function, by the kernel's records."""
    found = next(item for item in Guest.attach(machine.memory()).kernel().jit().functions if item.name == function)
    return [int(code) for code in found.level_codes]


@pytest.mark.parametrize("elf", SYMBOLS)
def test_a_tier_is_waited_for_from_the_first_instruction_of_the_machine(
    gdb: Gdb, stock: Path, paused: Machine, elf: str
) -> None:
    result = gdb.run(
        f"bf attach {paused.name}",
        "bf break jit:sum@O2",
        "continue",
        "bt",
        "stepi 4",
        "bt",
        "bf jit --json",
        "delete",
        "bf status",
        "maint info breakpoints",
        elf=stock / elf,
    )
    assert "breakpoint 1 follows sum@O2: pending until that code is published" in result.out
    function = next(item for item in result.json()["functions"] if item["name"] == "sum")
    assert (function["level"], function["calls"]) == (2, 1000), "stopped in the first call of O2"
    frames = re.findall(r"^#(\d+) +(?:0x\w+ in )?(\S+) \(", result.out, re.MULTILINE)
    names = ["sum@O2", *CALLERS]
    if "twin" in elf:
        names.insert(2, "run")
    assert [name for _, name in frames if name != "_start" and name != "_start.halt"] == names * 2
    assert "No breakpoints" in result.out


def test_it_moves_with_every_swap_and_reaches_the_code_of_each_tier(
    gdb: Gdb, stock: Path, paused: Machine, to_first_call: tuple[str, ...]
) -> None:
    pc = 'printf "at %x\\n", $eip'
    result = gdb.run(
        *to_first_call,
        "bf break jit:fibonacci",
        "break cpu_halt",
        "continue",
        pc,
        *("ignore 2 99", "continue", pc),
        *("ignore 2 899", "continue", pc),
        "delete 2",
        "continue",
        pc,
        elf=stock / "stock.elf",
    )
    stops = [int(line.split()[1], 16) for line in result.out.splitlines() if line.startswith("at ")]
    codes = codes_of(paused, "fibonacci")
    assert len(stops) == 4, result.out + result.err
    assert all(0 <= stop - code < 16 for stop, code in zip(stops[:3], codes[:3], strict=True)), (stops, codes)


@pytest.mark.parametrize("elf", ("stock_stripped.elf", ""))
def test_without_symbols_it_follows_what_is_registered_and_says_so_of_what_is_not(
    gdb: Gdb, stock: Path, paused: Machine, to_first_call: tuple[str, ...], elf: str
) -> None:
    result = gdb.run(
        *to_first_call,
        "bf break jit:sum@O1",
        "bf break jit:moon",
        "info breakpoints",
        "continue",
        "bt 2",
        elf=stock / elf if elf else None,
    )
    assert "the kernel's ELF that has symbols with `file`, or ask again when `bf jit` lists" in result.err
    assert "moon" not in result.out.partition("Num ")[2], "what cannot be followed is not left behind"
    assert re.search(r"^#0 +0x\w+ in sum@O1 \(\)$", result.out, re.MULTILINE), result.out
    caller = re.search(r"^#1 +(0x\w+) in", result.out, re.MULTILINE)
    assert caller is not None
    assert codes_of(paused, "sum")[1] > 0
    twin = gdb.run(f"info symbol {caller[1]}", suite=False, elf=stock / "stock.elf")
    assert twin.out.startswith("adaptive_jit_execute + ")


def test_before_the_kernel_is_there_and_without_symbols_it_is_one_sentence(gdb: Gdb, paused: Machine) -> None:
    result = gdb.run(f"bf attach {paused.name}", "bf break jit:sum", "maint info breakpoints")
    said = [line for line in result.err.splitlines() if line.startswith("bf ")]
    assert len(said) == 1 and "load the kernel's ELF that has symbols with `file`" in said[0]
    assert "No breakpoints" in result.out


def test_the_caller_is_right_at_every_instruction_of_a_call(
    gdb: Gdb, stock: Path, to_first_call: tuple[str, ...]
) -> None:
    result = gdb.run(
        *to_first_call,
        "bf jit",
        'tbreak *$bf_func("sum")',
        "continue",
        'python exec("def walk():\\n f = gdb.newest_frame(); up = f.older()\\n '
        "return (up.name(), up.pc(), [int(up.read_register(r)) for r in ('esp', 'ebx', 'esi', 'edi', 'ebp')])\")",
        "python for _ in range(24): print('caller', walk()); gdb.execute('stepi', to_string=True)",
        elf=stock / "stock.elf",
    )
    seen = [line for line in result.out.splitlines() if line.startswith("caller ")]
    assert len(seen) == 24 and len(set(seen)) == 1, set(seen)
    assert "adaptive_jit_execute" in seen[0]


def test_swaps_are_stopped_at_by_watchpoints_after_the_store(
    gdb: Gdb, paused: Machine, to_first_call: tuple[str, ...]
) -> None:
    result = gdb.run(
        *to_first_call, "bf break-swap fibonacci", "continue", "delete", "bf watch sum", "continue", "bf step-swap"
    )
    changes = re.findall(r"Old value = .*(0x\w+)\b.*\s+New value = .*(0x\w+)\b", result.out)
    expected = [tuple(map(hex, codes_of(paused, name)[:2])) for name in ("fibonacci", "sum")]
    assert changes == expected
    assert "its publishing store is inlined" in result.err


REFUSED = {
    "exception": "it prints exceptions on the screen only",
    "log": "it keeps no log; `serial`",
    "cache": "its cache is part of its image",
    "release": "it cannot be held",
    "swap veto fibonacci": "it knows no veto",
    "step-swap": "its publishing store is inlined",
}
UNIKERNEL = ("swaps", "jit", "modules", "header sum", "break-swap", "watch sum")
ANSWERED = (
    "status",
    "boot",
    "pools",
    "profile",
    "stack",
    "cpu",
    "irq",
    "screen",
    "serial",
    "doctor",
    "find",
    "fat list",
    "identify $eip",
    "jitsym",
)
OF_THE_KERNEL = ("modules", "jit", "swaps", "header sum", "bitcode primes", "disas sum --diff O0 O2", "watch sum")


@pytest.mark.parametrize("kernel", ("stock", "stock76", "stock72", "stock_unikernel"))
def test_every_question_is_answered_or_refused_in_one_sentence(
    gdb: Gdb, stock: Path, launched: Boot, ended: Boot, kernel: str
) -> None:
    if kernel == "stock76":
        machine = launched(stock / "stock76.img", disk=stock / "stock_disk.img")
        wait_for_serial(machine, KERNEL_END)
        wait_for_halt(machine)
    else:
        machine = ended(kernel)
    answered = ANSWERED if kernel == "stock_unikernel" else ANSWERED + OF_THE_KERNEL
    refused = [*REFUSED, *(UNIKERNEL if kernel == "stock_unikernel" else ())]
    marks = [word for question in (*answered, *refused) for word in (f"echo >>> {question}\\n", f"bf {question}")]
    result = gdb.run(f"bf attach {machine.name}", *marks)
    texts = {part.partition("\n")[0]: part.partition("\n")[2] for part in result.out.split(">>> ")[1:]}
    assert "Traceback" not in result.out + result.err
    assert [question for question in answered if not texts[question].strip()] == []
    said = [line for line in result.err.splitlines() if line.startswith("bf ")]
    assert len(said) == len(refused), result.err
    for question, line in zip(refused, said, strict=True):
        assert line.startswith(f"bf {question.split()[0]}: "), line
        assert REFUSED.get(question, "unikernel") in line
    assert ("SUM.MOD" in texts["fat list"] or "MATRIX" in texts["fat list"]) == (kernel == "stock76")


def test_a_trace_is_recorded_beside_gdb_by_polling(gdb: Gdb, ended: Boot, tmp_path: Path) -> None:
    machine = ended("stock")
    result = gdb.run(
        f"bf attach {machine.name}", f"bf trace start {tmp_path / 'trace'}", "bf trace status", "bf trace stop"
    )
    manifest = json.loads((tmp_path / "trace" / "manifest.json").read_text())
    (source,) = manifest["sources"]
    assert (source["kind"], source["missed"], manifest["complete"]) == ("tables", 0, True)
    assert "polled without a stop" in result.out or "swaps  running" in result.out or "swaps  halted" in result.out
    assert result.err == "" and "swaps      0" in result.out


def test_an_address_is_told_as_the_records_and_the_symbols_have_it(gdb: Gdb, stock: Path, ended: Boot) -> None:
    machine = ended("stock")
    guest = Guest.attach(machine.memory())
    function = guest.kernel().jit().functions[1]
    module = guest.kernel().modules().modules[0]
    pool = guest.kernel().pools("data").pools[0]
    asked = {
        hex(function.level_codes[2] + 3): ("code pool", f"{function.name} O2", function.level_codes[2]),
        hex(function.slot): ("stack", "JIT entry 1, current_code", function.slot - 20),
        hex(module.code - 8): ("kernel", f"module {module.name}", module.code - 48),
        hex(pool.base + 20): ("data pool", "free block", pool.base + 16),
        "$eip": ("kernel", "cpu_halt", None),
        "0x200010": ("RAM above 1 MiB", "", 0x100000),
    }
    questions = [f"bf identify {address} --json" for address in asked]
    text = gdb.run(f"bf attach {machine.name}", *questions, elf=stock / "stock.elf").out
    decoder = json.JSONDecoder()
    for address, (region, name, start) in asked.items():
        text = text[text.index("{\n") :]
        record, end = decoder.raw_decode(text)
        text = text[end:]
        assert (record["region"], record["name"]) == (region, name), address
        assert start is None or int(record["start"], 16) == start


def test_code_is_as_long_as_its_buffer_says(gdb: Gdb, ended: Boot) -> None:
    machine = ended("stock")
    result = gdb.run(f"bf attach {machine.name}", "bf jitsym --json", "bf disas sum --diff O0 O2")
    swaps = Guest.attach(machine.memory()).kernel().swaps().swaps
    sizes = {f"{swap.function}@O3": swap.code_size for swap in swaps if swap.to_level == 3}
    start = result.out.index("[\n") if "[\n" in result.out else result.out.index("{\n")
    record = json.JSONDecoder().raw_decode(result.out[start:])[0]
    found = record if isinstance(record, list) else next(iter(record.values()))
    assert {item["name"]: item["size"] for item in found} == sizes
    assert "int3" in result.out or "ret" in result.out
    assert "dec edi" not in result.out, "the header of the next module is no code"


def test_what_is_set_on_a_stock_guest_goes_when_it_is_killed(gdb: Gdb, stock: Path, launched: Boot) -> None:
    machine = launched(stock / "stock.img", with_disk=False)
    wait_for_serial(machine, KERNEL_END)
    wait_for_halt(machine)
    with MiGdb(gdb.path, script=SCRIPT) as session:
        session.run(f"bf attach {machine.name}")
        session.run("bf break jit:sum@O2")
        session.run("bf watch sum")
        # The user's, and the one that follows.
        assert session.run("maint info breakpoints").count("hw watchpoint") == 2
        session.start("continue")
        session.wait_for_running()
        session.end(machine)
        with contextlib.suppress(MiError):
            session.result("continue")
        with pytest.raises(MiError, match="not connected"):
            session.run("bf status")
        left = session.run("maint info breakpoints")
        assert "bf_follow" not in left and "watchpoint" not in left
