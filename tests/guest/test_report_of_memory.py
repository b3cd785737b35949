"""A report of a core, a raw dump or a serial log, alone or together: of our kernel and of stock ones."""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from asking import record_of
from hostile_names import HARMFUL
from machines import wait_for_halt
from page_reader import Reader

from bareflow_gdb.analysis.agree import compare
from bareflow_gdb.cli import main as cli
from bareflow_gdb.guest.code.log_lines import boots
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.memory.core import ElfCore
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine

STOCK = ("stock", "field_microjit", "field_modules", "stock_unikernel")
DUMPED = 16 << 20


class Left(NamedTuple):
    """What a guest has left."""

    core: Path
    dump: Path
    log: Path
    elf: Path


class Made(NamedTuple):
    """A report."""

    code: int
    record: dict[str, Any]
    page: Reader
    raw: str

    def kinds(self, kind: str) -> list[str]:
        return [one["finding"] for one in self.record["findings"] if one["kind"] == kind]


Report = Callable[..., Made]


@pytest.fixture(scope="module")
def left(firmware: Path, idle_machine: Machine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Left]:
    """Core, dump and log of each kernel at the end of its run."""
    folder = tmp_path_factory.mktemp("left")
    found = {"own": save(idle_machine, folder / "own", firmware / "kernel.elf")}
    for name in STOCK:
        machine = launch(firmware / "stock" / f"{name}.img", name=f"left-{name}".replace("_", "-"), with_disk=False)
        try:
            wait_for_halt(machine)
            found[name] = save(machine, folder / name, firmware / "stock" / f"{name}.elf")
        finally:
            machine.stop()
    return found


def save(machine: Machine, stem: Path, elf: Path) -> Left:
    made = Left(stem.with_suffix(".core"), stem.with_suffix(".dump"), stem.with_suffix(".log"), elf)
    machine.pause()
    machine.dump_core(made.core)
    made.dump.write_bytes(machine.read_physical(0, DUMPED))
    made.log.write_bytes(machine.serial_path.read_bytes())
    machine.resume()
    return made


@pytest.fixture
def report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Report:
    def make(*words: object) -> Made:
        out = tmp_path / "page.html"
        code = cli.main(["report", *map(str, words), "--out", str(out), "--json"])
        said = capsys.readouterr()
        raw = out.read_text(encoding="utf-8")
        assert not HARMFUL.search(raw.replace("\n", "")), HARMFUL.search(raw.replace("\n", ""))
        return Made(code, json.loads(said.out), Reader(raw), raw)

    return make


@pytest.mark.parametrize("source", ["core", "dump"])
def test_a_report_of_our_kernel_tells_what_its_memory_holds_and_its_log_agrees(
    left: dict[str, Left], report: Report, source: str
) -> None:
    own = left["own"]
    made = report(getattr(own, source), "--serial", own.log, "--elf", own.elf)
    assert made.code == 0 and made.kinds("bad") == []
    assert list(made.record["sources"]) == ["memory", "serial log"]
    good = made.kinds("good")
    assert "log and memory agree on 36 swaps" in good
    assert [line for line in good if re.fullmatch(r"log and memory agree on 73 figures of (modules|functions)", line)]
    words = made.page.text
    for title in ("Findings", "Swaps", "Log and memory", "Exported on COM1", "Code before and after", "Profile"):
        assert title in words, title
    for title in ("Modules", "JIT pools", "Boot", "Status", "Adaptive JIT", "What it printed"):
        assert title in words, title
    assert words.index("Findings") < words.index("Swaps") and "Loss account" not in words
    assert "Times count from stage 1 of the boot loader." in words
    assert ("Stack" in words and "kernel_main + 0x" in words) == (source == "core")


def test_a_core_alone_brings_the_end_of_its_log_along(left: dict[str, Left], report: Report) -> None:
    made = report(left["own"].core)
    assert made.code == 0 and made.record["sources"]["serial log"] == "the kernel's own log buffer"
    assert any("figures of functions" in line for line in made.kinds("good"))


@pytest.mark.parametrize(("source", "elf"), [("core", False), ("dump", True)])
@pytest.mark.parametrize("kernel", STOCK)
def test_a_report_of_a_stock_kernel_tells_all_but_times(
    left: dict[str, Left], report: Report, kernel: str, source: str, elf: bool
) -> None:
    of = left[kernel]
    made = report(getattr(of, source), "--serial", of.log, *(("--elf", of.elf) if elf else ()))
    # The pools of field_microjit really have underflowed, modules of field_modules are stubs.
    assert made.code == kernel.startswith("field")
    assert not any("contradict" in line or "disagree" in line for line in made.kinds("bad"))
    words = made.page.text
    assert "Times count from" not in words and "us" not in re.findall(r"\b\d (us|ms)\b", words)
    if kernel == "stock_unikernel":
        assert "Profile" in words and "no adaptive JIT" in words
        return
    swaps = 1 if kernel == "field_microjit" else 9
    figures = 37 if kernel == "field_modules" else 25
    assert f"log and memory agree on {swaps} swap{'s' if swaps > 1 else ''}" in made.kinds("good")
    (agreed,) = [line for line in made.kinds("good") if "figures of modules" in line]
    assert abs(int(re.findall(r"\d+", agreed)[0]) - figures) <= 1
    assert "by search of" in words


@pytest.mark.parametrize("kernel", ["own", "stock"])
def test_a_log_alone_tells_swaps_and_the_exported_profile(left: dict[str, Left], report: Report, kernel: str) -> None:
    for words in ((left[kernel].log,), ("--serial", left[kernel].log)):
        made = report(*words)
        assert made.code == 0 and list(made.record["sources"]) == ["serial log"]
        text = made.page.text
        assert "fibonacci" in text and "Exported on COM1" in text and "JIT pools" not in text
        assert "There is nothing in memory to compare it with." in text


def test_one_byte_of_memory_that_differs_from_the_log_is_named(
    left: dict[str, Left], report: Report, tmp_path: Path
) -> None:
    stock = left["stock"]
    data = bytearray(stock.dump.read_bytes())
    (row,) = re.findall(rb'"name": "primes",\s+"calls": (\d+),\s+"total_cycles": (\d+)', stock.log.read_bytes())
    total = struct.pack("<Q", int(row[1]))
    places = [found.start() for found in re.finditer(re.escape(total), bytes(data))]
    assert places
    for at in places:
        data[at : at + 8] = struct.pack("<Q", int(row[1]) ^ 1)
    changed = tmp_path / "changed.dump"
    changed.write_bytes(data)
    made = report(changed, "--serial", stock.log)
    assert made.code == 1
    assert any(line.startswith("log and memory contradict: primes: total cycles") for line in made.kinds("bad"))


def test_the_log_of_another_guest_contradicts(left: dict[str, Left], report: Report) -> None:
    made = report(left["own"].core, "--serial", left["stock"].log)
    assert made.code == 1 and any("contradict" in line for line in made.kinds("bad"))


@pytest.mark.parametrize("kernel", ["own", "stock"])
def test_a_log_that_is_cut_off_anywhere_tells_no_other_swaps(left: dict[str, Left], kernel: str) -> None:
    of = left[kernel]
    swaps = Guest.attach(ElfCore(of.core)).kernel().swaps(every=True).swaps
    whole = of.log.read_text(errors="replace")
    for at in range(0, len(whole), 1 + len(whole) // 4000):
        for part in (whole[:at], whole[at:]):
            assert compare(part, swaps, "memory", same_stretch=False).disagreements == (), at


@pytest.mark.parametrize("kernel", ["own", "stock"])
def test_a_log_that_is_cut_off_contradicts_nothing(
    left: dict[str, Left], report: Report, tmp_path: Path, kernel: str
) -> None:
    of = left[kernel]
    whole = of.log.read_bytes()
    for share in (0.1, 0.5, 0.9):
        for part in (whole[: int(len(whole) * share)], whole[int(len(whole) * share) :]):
            log = tmp_path / "cut.log"
            log.write_bytes(b"\x1b[2J" + part.replace(b"\n", b"\r\n") + b"\0" * 100)
            made = report(of.core, "--serial", log)
            assert made.kinds("bad") == [] and made.code == 0, (share, made.record)


def test_hostile_bytes_in_memory_and_log_stay_text(left: dict[str, Left], report: Report, tmp_path: Path) -> None:
    evil = b"<script>\x1b[2J"
    for name in ("own", "stock"):
        of = left[name]
        dump, log = tmp_path / "evil.dump", tmp_path / "evil.log"
        dump.write_bytes(of.dump.read_bytes().replace(b"fibonacci\0\0\0", evil[:11] + b"\0"))
        log.write_bytes(of.log.read_bytes().replace(b"fibonacci", evil) + b"\n\x9b31m\xe2\x80\xae\x07" + evil)
        for words in ((dump, "--serial", log), (dump,), ("--serial", log)):
            made = report(*words)
            # Of its own it has one with data, and one that draws it.
            assert made.page.tags.count("script") in (0, 2) and "img" not in made.page.tags


def test_where_a_report_goes_and_what_has_none(
    left: dict[str, Left], firmware: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "com1.log"
    log.write_bytes(left["stock"].log.read_bytes())
    assert cli.main(["report", str(log)]) == 0
    assert (tmp_path / "com1.log.report.html").stat().st_mode & 0o777 == 0o600
    capsys.readouterr()
    for words, told in (
        ((firmware / "fluid.img",), "tells nothing of a run"),
        ((firmware / "kernel.elf",), "tells nothing of a run"),
        ((log, "--serial", log), "are both serial logs"),
        ((left["own"].core, "--serial", tmp_path / "no.log"), "no.log"),
    ):
        assert cli.main(["report", *map(str, words), "--out", str(tmp_path / "x.html")]) == 2
        said = capsys.readouterr().err
        assert told in said and said.count("\n") == 1
        assert not (tmp_path / "x.html").exists()


def test_wherever_the_log_of_a_stock_kernel_is_cut_its_swaps_stay_in_order(left: dict[str, Left]) -> None:
    text = left["stock"].log.read_text()
    guest = Guest.attach(ElfCore(left["stock"].core))
    for at in range(0, text.index("=== PROFILING"), 13):
        for part in (text[:at], text[at:]):
            guest.serial_log = lambda part=part: part
            swaps = record_of(guest, "swaps").swaps
            found = compare(boots(part)[-1] if part else "", swaps, "memory", same_stretch=False)
            assert found.agree, (at, found)
            levels: dict[str, int] = {}
            for swap in swaps:
                assert swap.to_level == levels.get(swap.function, 0) + 1, (at, swap)
                levels[swap.function] = swap.to_level
