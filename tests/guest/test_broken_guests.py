"""Guests that were broken on purpose: `status` names what is wrong, by its cause. Healthy ones have no finding.

Most are built: a line of the firmware is replaced in a copy, and built again. Others get a damaged disk or image, or a
byte of their memory is changed.
"""

from __future__ import annotations

import json
import re
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from machines import QUICK, wait_for
from program import bareflow
from workshop import Workshop, defects

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.boot.wait import release as let_go
from bareflow_gdb.guest.boot.wait import wait_for_serial, wait_for_stage
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.qemu.image import RootSettings
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 120.0
UD2 = b"\x0f\x0b"


@dataclass(frozen=True)
class Broken:
    """A line of a source file that is replaced, and what status says of the guest that has it."""

    file: str
    old: str
    new: str
    said: str
    stage: str = "idle"
    thresholds: tuple[int, int, int] = QUICK

    @classmethod
    def in_museum(cls, name: str, said: str, stage: str = "idle") -> Broken:
        """A defect that the museum shows too."""
        defect = defects()[name]
        return cls(defect.file, defect.old, defect.new[0], said, stage)


BUILT = {
    "sum returns one more": Broken(
        "modules/sum.c", "return (int32_t)total;", "return (int32_t)total + 1;", r"sum returned 5,?051 last"
    ),
    "quicksort recurses for ever": Broken(
        "modules/quicksort.c", "last - first < RUN", "last - first < -1000000", r"reboots in a loop: \d+ boots", "loop"
    ),
    "the publishing store is a nop": Broken(
        "kernel/hooks.c", '"movl %%eax, (%%edx)"', '"nop; nop"', r"the swap to \w+@O3 #\d+ did not take effect"
    ),
    "the micro-JIT loses EBX": Broken(
        "microjit/patterns.c",
        "(jit, MICROJIT_EBX);",
        "(jit, MICROJIT_ECX);",
        r"overwrites EBX, which belongs to its caller",
    ),
    "the exception record always says 13": Broken(
        "kernel/exception.c",
        "record->vector = frame->vector;",
        "record->vector = 13;",
        r"the exception record contradicts the code .*#UD",
        "exception",
    ),
    "COM1 has divisor 3": Broken.in_museum("baud", r"COM1 runs at 38,400 baud"),
    "the minimum is never updated": Broken(
        "kernel/adaptive_jit.c", "if (cycles < profile->min_cycles)", "if (0)", r"the minimum was never set"
    ),
    "cycles are counted twice": Broken(
        "kernel/adaptive_jit.c",
        "    profile->total_cycles += cycles;",
        "    profile->total_cycles += 2 * cycles;",
        r"more cycles are counted than have passed",
        thresholds=(100, 1000, 10000),
    ),
    "FAT16 is looked for on the master": Broken.in_museum("master_drive", r"refused the second disk"),
    "a threshold is off by one": Broken(
        "kernel/adaptive_jit.c", "thresholds[wanted - 1]);", "thresholds[wanted - 1]) + 1;", r"asked for O1 at call 11"
    ),
    "the pools' fragmentation is wrong": Broken(
        "kernel/pools.c",
        "(free - largest) * 100 / free;",
        "(free - largest) * 100 / free + 1;",
        r"self-test .* failed.*Test 10",
    ),
    "the SHA-256 is never compared": Broken(
        "kernel/module_image.c",
        "if (memcmp(digest, (const uint8_t *)image->header + size - DIGEST, DIGEST) != 0)",
        "if (0)",
        r"the cached image of compute O3 is damaged",
    ),
    "the cache evicts the newest": Broken(
        "kernel/cache.c",
        "slot->tsc_last_used < oldest->tsc_last_used",
        "slot->tsc_last_used > oldest->tsc_last_used",
        r"evicted an image that was not the least recently used: \w+@O\d was evicted.* stayed",
    ),
    "the cache evicts what is published": Broken(
        "kernel/cache.c",
        "if (slot->state == PUBLISHED)\n        return true;",
        "",
        r"not the least recently used: \w+@O\d was evicted while it was published",
    ),
    "the cache does not note a publication": Broken(
        "kernel/cache.c",
        "if (slot->level == level || slot->state == PUBLISHED)\n            slot->tsc_last_used = rdtsc();",
        "",
        r"does not note when \w+ O\d was used",
    ),
    "evictions are counted twice": Broken(
        "kernel/cache.c", "bareflow_cache.evictions++;", "bareflow_cache.evictions += 2;", r"the cache counts wrongly"
    ),
    "the kernel is built with SSE2": Broken.in_museum(
        # Until the kernel has switched it on; then in its handlers.
        "compiled_for_the_host",
        r"compiled with SSE, and SSE is off|an interrupt handler changes x87 and vector state",
        "any",
    ),
}


@contextmanager
def images(workshop: Workshop, broken: Broken) -> Iterator[tuple[Path, Path]]:
    """The image of a kernel with that fault, and its disk."""
    with workshop.broken(broken.file, broken.old, broken.new):
        # Only modules are on the disk.
        on_disk = broken.file.startswith("modules/") and broken.file.endswith(".c")
        workshop.make("fluid.img", *(["fat16.img"] if on_disk else []))
        yield workshop.built / "fluid.img", (workshop.built if on_disk else ROOT / "build" / "firmware") / "fat16.img"


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("workshop"), ROOT / "build" / "firmware")


@contextmanager
def running(image: Path, disk: Path | None, settings: RootSettings | None = None) -> Iterator[Machine]:
    machine = launch(image, disk=disk, settings=settings)
    try:
        yield machine
    finally:
        machine.stop()


def status_of(machine: Machine) -> tuple[int, str]:
    """Exit code and problem lines of `bareflow status`."""
    done = bareflow("status", "--json", machine.name)
    assert "defect" not in done.stderr, done.stderr
    record = json.loads(done.stdout) if done.stdout else {"problems": [done.stderr]}
    return done.returncode, "\n".join(record["problems"])


def reached(machine: Machine, stage: str) -> None:
    """Waits for what a broken guest comes to."""
    if stage == "loop":
        wait_for(lambda: machine.serial().count("[serial] init ok") >= 3, "three boots", SECONDS)
    elif stage == "any":
        wait_for(lambda: status_of(machine)[0] == 1, "a finding", SECONDS)
    elif stage == "exception":
        wait_for_stage(machine, "registered", SECONDS)
        primes = next(one for one in Guest.attach(machine.memory()).kernel().jit_code() if one.function == "primes")
        machine.memory().write(primes.code, UD2, "code")
        let_go(machine)
        wait_for_serial(machine, "[EXCEPTION]", SECONDS)
    else:
        wait_for_stage(machine, stage, SECONDS)


@pytest.mark.parametrize("name", BUILT)
def test_a_kernel_that_is_built_wrong_is_named(workshop: Workshop, tmp_path: Path, name: str) -> None:
    broken = BUILT[name]
    with images(workshop, broken) as (image, files):
        disk = shutil.copy(files, tmp_path / "fat16.img")
        if "SHA-256" in name:
            damage(disk, "COMPUTE.O3", lambda data: flipped(data, len(data) - 1))
        copy = Path(shutil.copy(image, tmp_path / "fluid.img"))
    settings = RootSettings(hold=int(broken.stage == "exception"), thresholds=broken.thresholds)
    with running(copy, Path(disk), settings) as machine:
        reached(machine, broken.stage)
        code, problems = status_of(machine)
    assert code == 1
    assert re.search(broken.said, problems, re.DOTALL), problems


def damage(disk: Path | str, name: str, change: Callable[[bytes], bytes]) -> None:
    """Changes a file of a FAT16 image."""
    content = subprocess.run(["mtype", "-i", str(disk), f"::{name}"], capture_output=True, check=True).stdout
    put(disk, name, change(content))


def put(disk: Path | str, name: str, content: bytes) -> None:
    source = Path(disk).with_name("content")
    source.write_bytes(content)
    subprocess.run(["mcopy", "-o", "-i", str(disk), str(source), f"::{name}"], check=True)


def read(disk: Path | str, name: str) -> bytes:
    return subprocess.run(["mtype", "-i", str(disk), f"::{name}"], capture_output=True, check=True).stdout


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def exchange(disk: Path) -> None:
    first, third = read(disk, "FFT_1D.O1"), read(disk, "FFT_1D.O3")
    put(disk, "FFT_1D.O1", third)
    put(disk, "FFT_1D.O3", first)


def three_damaged(disk: Path) -> None:
    put(disk, "QUICKSOR.O1", read(disk, "STROPS.O1"))
    subprocess.run(["mdel", "-i", str(disk), "::SHA256.O2"], check=True)
    damage(disk, "GEMM_TIL.O2", lambda data: data[: len(data) // 2])


DISKS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a byte of PRIMES.MOD": (lambda disk: damage(disk, "PRIMES.MOD", lambda data: flipped(data, 100)), "PRIMES.MOD"),
    "O1 and O3 of a module exchanged": (exchange, "FFT_1D.O1"),
    "a bit of a signature": (
        lambda disk: damage(disk, "COMPUTE.O1", lambda data: flipped(data, len(data) - 1)),
        "COMPUTE.O1",
    ),
    "bitcode with a short header": (lambda disk: damage(disk, "SUM.BC", lambda data: data[4:]), "SUM.BC"),
    "three files": (three_damaged, "QUICKSOR.O1.*GEMM_TIL.O2|GEMM_TIL.O2.*QUICKSOR.O1"),
}


@pytest.mark.parametrize("name", DISKS)
def test_a_damaged_disk_is_named_by_its_file(firmware: Path, tmp_path: Path, name: str) -> None:
    breaks, said = DISKS[name]
    disk = Path(shutil.copy(firmware / "fat16.img", tmp_path / "fat16.img"))
    breaks(disk)
    with running(firmware / "fluid.img", disk, RootSettings(thresholds=QUICK)) as machine:
        reached(machine, "idle")
        code, problems = status_of(machine)
    assert code == 1
    assert re.search(said, problems, re.DOTALL), problems


def test_an_expected_value_and_a_byte_of_published_code_that_were_changed_are_named(firmware: Path) -> None:
    with running(firmware / "fluid.img", firmware / "fat16.img", RootSettings(thresholds=QUICK)) as machine:
        reached(machine, "idle")
        assert status_of(machine) == (0, "")
        root, functions = Guest.attach(machine.memory()).root(), Guest.attach(machine.memory()).kernel().functions()
        primes = next(one for one in functions if one.name == "primes")
        record = root.function_table + primes.index * layouts.size("bf_function")
        machine.memory().write(record + layouts.offset("bf_function", "expected"), struct.pack("<i", 169), "expected")
        code, problems = status_of(machine)
        assert code == 1 and "primes returned 168 last" in problems and problems.count("\n") == 0
        emitted = next(one for one in Guest.attach(machine.memory()).kernel().jit_code() if one.name == "matrix_mul@O3")
        machine.memory().write(emitted.code + 20, b"\x90", "code")
        assert status_of(machine)[0] == 1
        assert f"the code of {emitted.title} was changed after it was emitted" in status_of(machine)[1]


def test_a_call_that_an_exception_ended_is_no_finding_of_its_own(firmware: Path) -> None:
    with running(firmware / "fluid.img", firmware / "fat16.img", RootSettings(hold=1, thresholds=QUICK)) as machine:
        reached(machine, "exception")
        problems = status_of(machine)[1].splitlines()
    assert any("took #UD" in problem for problem in problems)
    for consequence in ("calls in all", "returned 0", "minimum"):
        assert not any(consequence in problem for problem in problems), problems


def test_a_kernel_without_its_disk_is_told_that_and_nothing_that_follows_from_it(firmware: Path) -> None:
    machine = launch(firmware / "fluid.img", with_disk=False, settings=RootSettings(thresholds=QUICK))
    try:
        reached(machine, "idle")
        problems = status_of(machine)[1].splitlines()
        assert len(problems) == 1 and "there is no second disk" in problems[0], problems
        assert "no bitcode for 34 tiers" in problems[0]
    finally:
        machine.stop()


def test_tiers_that_are_refused_for_one_reason_are_one_problem(firmware: Path, tmp_path: Path) -> None:
    disk = Path(shutil.copy(firmware / "fat16.img", tmp_path / "fat16.img"))
    for name in ("FFT_1D", "PRIMES"):
        subprocess.run(["mdel", "-i", str(disk), *(f"::{name}.{end}" for end in ("O1", "O2", "O3", "BC"))], check=True)
    with running(firmware / "fluid.img", disk, RootSettings(thresholds=QUICK)) as machine:
        reached(machine, "idle")
        problems = status_of(machine)[1].splitlines()
    assert len(problems) == 2, problems
    assert problems[0].startswith(
        "the kernel refused 6 tiers (primes: O1, primes: O2, primes: O3, fft_1d: O1 and 2 more)"
    )
    assert problems[1].startswith("primes, fft_1d stay at O0")


HEALTHY = {
    "the kernel": ("fluid.img", None),
    "the kernel at other thresholds": ("fluid.img", RootSettings(thresholds=(10, 20, 30))),
    "held": ("fluid.img", RootSettings(hold=1)),
    "module life": ("fluid.img", RootSettings(scenario=4)),
    "called for ever": ("fluid.img", RootSettings(scenario=6, thresholds=QUICK)),
    "an event's cost": ("fluid.img", RootSettings(scenario=1)),
    "TinyLlama": ("tinyllama.img", None),
    "TinyLlama held": ("tinyllama.img", RootSettings(hold=1)),
    "TinyLlama at other thresholds": ("tinyllama.img", RootSettings(thresholds=(5, 10, 100))),
    "a stock kernel": ("stock/stock.img", None),
    "a stock unikernel": ("stock/stock_unikernel.img", None),
}
ENDS = {"stock/stock.img": "--- END JSON ---", "stock/stock_unikernel.img": "halted"}


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_guest_has_no_finding(firmware: Path, name: str) -> None:
    image, settings = HEALTHY[name]
    disk = firmware / "fat16.img" if image == "fluid.img" else None
    with running(firmware / image, disk, settings) as machine:
        if image in ENDS:
            wait_for_serial(machine, ENDS[image], SECONDS)
        else:
            ends = "running" if name == "called for ever" else "halted" if image == "tinyllama.img" else "idle"
            reached(machine, "registered" if name.endswith("held") else ends)
        done = bareflow("checks", machine.name)
        assert done.returncode == 0, done.stdout
        assert "could not look" not in done.stdout or image in ENDS
