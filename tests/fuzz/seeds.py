"""Where do good inputs come from? From the real guests, booted once, and from what `make firmware` builds.

build/fuzz/seeds/   own.ram own.core stock.ram stock.core unikernel.ram llama.ram, the parts of each that decoders read,
                    trace/ killed/, texts of QEMU's monitor, serial.log, machine.json
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from unittest import mock

from elftools.elf.elffile import ELFFile
from llama import Llama, Question
from machines import SECONDS, wait_for, wait_for_halt

from bareflow_gdb.abi import layouts
from bareflow_gdb.build.fat_image import parse_file, write_image
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.boot.wait import wait_for_serial, wait_for_stage
from bareflow_gdb.guest.model.conversation import Sampling
from bareflow_gdb.memory.protocol import CheckedMemory
from bareflow_gdb.model.packed_file import SMALL
from bareflow_gdb.qemu.image import RootSettings
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.tracing.recorder import Recorder
from fuzz.mutate import Region
from fuzz.questions import every_question
from fuzz.verbs import run_verb

FIRMWARE = Path(__file__).parents[2] / "build" / "firmware"
MONITOR = {"registers": "info registers", "block": "info block", "pic": "info pic"}
THRESHOLDS = (10, 20, 30)
QUICK = RootSettings(thresholds=THRESHOLDS, hold=1)
BLOCK = 4096
LARGEST_PART = 64 << 10
"""What is read in larger pieces is a search, not a table."""


def collect(seeds: Path, firmware: Path = FIRMWARE) -> Path:
    """Makes the seeds, unless those of this firmware are there already."""
    stamp = json.dumps([(str(f.relative_to(firmware)), f.stat().st_mtime_ns) for f in sorted(firmware.rglob("*.img"))])
    done = seeds / "made-from.json"
    if done.exists() and done.read_text() == stamp:
        return seeds
    shutil.rmtree(seeds, ignore_errors=True)
    seeds.mkdir(parents=True)
    with _own_runtime():
        _own(seeds, firmware)
        _stock(seeds, firmware)
        _llama(seeds, firmware)
    for name in ("fat16.img", "fluid.img", "kernel.elf"):
        copy_sparse(firmware / name, seeds / name)
    for name in ("own.ram", "own.core", "stock.ram", "stock.core", "unikernel.ram", "llama.ram"):
        found = parts_read(seeds / name)
        (seeds / f"{name}.parts.json").write_text(json.dumps([asdict(part) for part in found]))
    done.write_text(stamp)
    return seeds


@contextlib.contextmanager
def _own_runtime() -> Iterator[None]:
    """The machines are not the user's; none stays."""
    with tempfile.TemporaryDirectory(prefix="bff-") as folder, mock.patch.dict(os.environ, XDG_RUNTIME_DIR=folder):
        try:
            yield
        finally:
            for machine in Machine.all() + Machine.stale():
                machine.stop()


def _own(seeds: Path, firmware: Path) -> None:
    machine = launch(firmware / "fluid.img", name="fuzz-own", settings=QUICK)
    with Recorder(machine, seeds / "trace") as recorder:
        recorder.release_hold()
        recorder.run(until_idle=True)
        # As a recorder leaves it that is killed now: journals, no end.
        shutil.copytree(seeds / "trace", seeds / "killed")
        recorder.finish()
    wait_for_stage(machine, "idle", SECONDS)
    machine.pause()
    copy_sparse(machine.ram_path, seeds / "own.ram")
    machine.dump_core(seeds / "own.core")
    for name, command in MONITOR.items():
        (seeds / f"{name}.txt").write_text(machine.monitor(command))
    (seeds / "machine.json").write_text(json.dumps(machine.record()))
    machine.stop()


def _stock(seeds: Path, firmware: Path) -> None:
    ends = {"stock": "--- END JSON ---", "stock_unikernel": "System halted."}
    running = {name: launch(firmware / "stock" / f"{name}.img", name=name.replace("_", "-")) for name in ends}
    for name, machine in running.items():
        wait_for_serial(machine, ends[name], SECONDS)
        wait_for_halt(machine)
        machine.pause()
        copy_sparse(machine.ram_path, seeds / f"{name.removeprefix('stock_')}.ram")
        if name == "stock":
            machine.dump_core(seeds / "stock.core")
            (seeds / "serial.log").write_text(machine.serial())
        machine.stop()


def _llama(seeds: Path, firmware: Path) -> None:
    """Stopped in mid-answer."""
    disk = seeds / "model.img"
    write_image([parse_file(str(SMALL))], disk)
    llama = Llama(firmware, THRESHOLDS, disk=disk)
    llama.ask(Question("Once upon a time", 250, sampling=Sampling.of(0.9, 0.9, 3)))
    llama.release()
    wait_for(lambda: "Once upon a time\n" in llama.text() and len(llama.text().rpartition("> Once")[2]) > 40, "tokens")
    llama.machine.pause()
    copy_sparse(llama.machine.ram_path, seeds / "llama.ram")
    llama.machine.stop()
    disk.unlink()


def copy_sparse(source: Path, target: Path, size: int | None = None) -> None:
    """A copy whose zero blocks take no room; `size`: only the beginning."""
    length = source.stat().st_size if size is None else size
    with source.open("rb") as old, target.open("wb") as new:
        for at in range(0, length, BLOCK):
            block = old.read(min(BLOCK, length - at))
            if block.count(0) != len(block):
                new.seek(at)
                new.write(block)
        new.truncate(length)


def parts(seeds: Path, name: str) -> list[Region]:
    """What the decoders read of a seed: offsets into the file."""
    return [Region(**part) for part in json.loads((seeds / f"{name}.parts.json").read_text())]


def parts_read(path: Path) -> list[Region]:
    """Asks every question of a good memory and notes what of it is read, and as which structure."""
    found: dict[tuple[int, int], str] = {}
    last: list[tuple[int, int]] = []
    read = CheckedMemory.read
    unpack, unpack_array = layouts.unpack, layouts.unpack_array

    def noting(self: CheckedMemory, address: int, size: int, what: str) -> bytes:
        if 0 < size <= LARGEST_PART:
            found.setdefault((address, size), "")
            last[:] = [(address, size)]
        return read(self, address, size, what)

    def note(name: str, data: Any) -> None:
        if last and last[0][1] == len(data) and len(data) >= layouts.size(name):
            found[last[0]] = name

    def unpacking(name: str, data: bytes) -> Any:
        note(name, data)
        return unpack(name, data)

    def unpacking_array(name: str, data: bytes, count: int | None = None) -> list[Any]:
        note(name, data)
        return unpack_array(name, data, count)

    with (
        mock.patch.object(CheckedMemory, "read", noting),
        mock.patch.object(layouts, "unpack", unpacking),
        mock.patch.object(layouts, "unpack_array", unpacking_array),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        for words in every_question():
            with contextlib.suppress(BareflowError):
                run_verb([*words, str(path)])
    offset = _offsets(path)
    placed = [(offset(at), size, name) for (at, size), name in sorted(found.items())]
    return [Region(at, size, name) for at, size, name in placed if at is not None]


def _offsets(path: Path) -> Any:
    """From an address to its place in the file."""
    if not path.name.endswith(".core"):
        return lambda address: address
    with path.open("rb") as file:
        loads = [s.header for s in ELFFile(file).iter_segments() if s.header["p_type"] == "PT_LOAD"]

    def place(address: int, loads: Sequence[Any] = tuple(loads)) -> int | None:
        for load in loads:
            if load["p_paddr"] <= address < load["p_paddr"] + load["p_filesz"]:
                return int(load["p_offset"] + address - load["p_paddr"])
        return None

    return place
