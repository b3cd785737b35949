"""A guest that lies while it is recorded: ring headers, records, tables, as the recorder finds them in RAM."""

from __future__ import annotations

import mmap
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, cast

import numpy as np

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.memory.dump import RawDump
from bareflow_gdb.memory.qemu_ram import QemuRam
from bareflow_gdb.tracing.recorder import Recorder
from bareflow_gdb.tracing.ring import RingReader
from fuzz import mutate
from fuzz.mutate import Damaged, Region
from fuzz.seeds import copy_sparse, parts
from fuzz.target import Target
from fuzz.verbs import run_verb

RAM_BYTES = 8 << 20
"""Everything that the kernel uses lies below."""
_FIRST_RECORDS = 64


@dataclass(frozen=True)
class _Stopped:
    """A machine whose RAM is a file, and that does not run."""

    ram_path: Path
    serial_path: Path
    image: Path = Path("none.img")
    name: str = "fuzz"
    icount: int | None = None

    def alive(self) -> bool:
        return True

    def read_screen(self) -> bytes:
        return bytes(4000)

    def monitor(self, _command: str) -> str:
        return ""


class _RingTarget(Target):
    def prepare(self) -> None:
        copy_sparse(self.seeds / "own.ram", self.folder / "ram", RAM_BYTES)
        with (self.seeds / "own.ram").open("rb") as good, (self.folder / "ram").open("r+b") as file:
            self._good = mmap.mmap(good.fileno(), RAM_BYTES, access=mmap.ACCESS_READ)
            self._map = mmap.mmap(file.fileno(), RAM_BYTES)
        root = Guest.attach(RawDump(self.folder / "ram")).root()
        self._rings = [int(at) for at in root.rings if at]
        size = layouts.size("bf_ring_header")
        headers = [Region(at, size, "bf_ring_header") for at in self._rings]
        fields = [layouts.unpack("bf_ring_header", self._map[at : at + size]) for at in self._rings]
        records = [Region(f.records, _FIRST_RECORDS * f.record_size, "bf_event") for f in fields]
        self._parts = headers * 4 + records * 4

    def _restore(self) -> None:
        """The recorder writes into headers too, wherever it believes them."""
        for at in range(0, RAM_BYTES, 1 << 16):
            if self._map[at : at + (1 << 16)] != self._good[at : at + (1 << 16)]:
                self._map[at : at + (1 << 16)] = self._good[at : at + (1 << 16)]


class RingBytes(_RingTarget):
    """One ring's reader alone, many times."""

    name, share, round = "ring bytes, reader", 6, 1

    def inputs(self, chance: Random) -> Iterator[str]:
        mutate.regions(chance, Damaged(self._map), self._parts, 6)
        yield f"{hex(chance.choice(self._rings))} {chance.choice(('flight', 'lossless'))} {chance.randrange(1 << 30)}"
        self._restore()

    def ask(self, folder: Path, words: str) -> str:
        at, mode, seed = words.split()
        chance = Random(int(seed))
        ram = QemuRam(folder / "ram")
        reader = RingReader(ram, int(at, 16))
        reader.attach(lossless=mode == "lossless", past=chance.random() < 0.8)
        taken = 0
        header = Damaged(self._map)
        for _ in range(4):
            batch = reader.drain(chance.choice((1, 100, 16384)))
            taken += len(batch.events)
            # The guest goes on lying.
            mutate.regions(chance, header, [Region(int(at, 16), layouts.size("bf_ring_header"), "bf_ring_header")], 2)
        counts = str(reader.counts())
        reader.detach()
        reader.close()
        return f"{taken} {counts}"


class Recording(_RingTarget):
    """The whole recorder, and what it leaves behind."""

    name, share, round = "ring bytes, recorder", 2, 3

    def prepare(self) -> None:
        super().prepare()
        self._parts = self._parts + parts(self.seeds, "own.ram")
        (self.folder / "serial.log").write_bytes(b"\x1b[31mhello\n")

    def inputs(self, chance: Random) -> Iterator[str]:
        mutate.regions(chance, Damaged(self._map), self._parts)
        if chance.random() < 0.7:
            self._announce_code(chance)
        yield "record"
        yield "show"
        if chance.random() < 0.2:  # a search of the memory takes longer than all the rest
            yield "poll"
            yield "show"
        self._restore()
        shutil.rmtree(self.folder / "t", ignore_errors=True)

    def _announce_code(self, chance: Random) -> None:
        """EMIT and PUBLISH events that name any code: the recorder goes and takes it."""
        at = chance.choice(self._rings)
        fields = layouts.unpack("bf_ring_header", self._map[at : at + layouts.size("bf_ring_header")])
        kind = layouts.numpy_dtype("bf_event")
        count = min(fields.capacity, 500, (RAM_BYTES - fields.records) // kind.itemsize)
        if count <= 0:
            return
        records = np.frombuffer(self._map, kind, count, fields.records)
        for record in records:
            if chance.random() < 0.5:
                record["type"] = chance.choice((4, 5, 6, 7, 8))
                record["arg"] = [chance.choice(mutate.WORDS) for _ in range(4)]
        del records

    def ask(self, folder: Path, words: str) -> str:
        trace = folder / "t"
        if words == "show":
            return run_verb(["trace", "show", str(trace)]) + run_verb(["events", "--last", "20", str(trace)])
        shutil.rmtree(trace, ignore_errors=True)
        machine = cast(Any, _Stopped(folder / "ram", folder / "serial.log"))
        how: dict[str, Any] = {"source": "tables"} if words == "poll" else {"source": "ring", "lossless": False}
        with Recorder(machine, trace, boot_seconds=0.0, **how) as recorder:
            recorder.run(seconds=0.01)
            return str(recorder.finish())
