"""A guest's memory that lies: whole RAM, the same in a core, cores whose headers lie, cores that were cut off."""

from __future__ import annotations

import mmap
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import ClassVar

from elftools.elf.elffile import ELFFile

from bareflow_gdb.abi import layouts
from bareflow_gdb.questions import registry
from fuzz import mutate
from fuzz.mutate import Damaged, Region
from fuzz.questions import words_of
from fuzz.seeds import copy_sparse, parts
from fuzz.target import Target
from fuzz.verbs import run_verb


class MemoryTarget(Target):
    """A file with guest memory, damaged where the decoders read it; every question is asked of it."""

    file: ClassVar[str]

    def prepare(self) -> None:
        copy_sparse(self.seeds / self.file, self.folder / self.file)
        with (self.folder / self.file).open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        self._parts = self.regions()
        self._places = [part.at for part in parts(self.seeds, "own.ram")][:500] + list(mutate.PLACES)

    def regions(self) -> list[Region]:
        """What is damaged."""
        return parts(self.seeds, self.file)

    def inputs(self, chance: Random) -> Iterator[str]:
        damaged = Damaged(self._map)
        try:
            mutate.regions(chance, damaged, self._parts)
            self.sign(chance, damaged)
            yield from self.questions(chance)
        finally:
            damaged.restore()

    def sign(self, chance: Random, damaged: Damaged) -> None:
        """Makes checksums right again that would hide the damage: here there are none."""

    def questions(self, chance: Random) -> Iterator[str]:
        """Each once."""
        for name in registry.names():
            yield " ".join(words_of(chance, name, self._places))
        yield chance.choice(("events --last 5", "events --json --type publish"))
        if chance.random() < 0.2:
            # As much as all questions together.
            yield "report --out OUT"

    def ask(self, folder: Path, words: str) -> str:
        given = words.replace("primes #1", "primes@O3").replace("OUT", str(folder / "report.html"))
        return run_verb([*given.split(), str(folder / self.file)])


class OwnRam(MemoryTarget):
    name, share, round, file = "whole RAM, own kernel", 17, 25, "own.ram"


class OwnCore(MemoryTarget):
    name, share, round, file = "whole RAM in an ELF core", 6, 25, "own.core"


class StockRam(MemoryTarget):
    name, share, round, file = "stock kernel's RAM", 3, 25, "stock.ram"


class UnikernelRam(MemoryTarget):
    name, share, round, file = "stock unikernel's RAM", 3, 25, "unikernel.ram"


class LlamaRam(MemoryTarget):
    name, share, round, file = "language model's RAM", 3, 25, "llama.ram"

    def prepare(self) -> None:
        super().prepare()
        self._places = [part.at for part in self._parts][:500] + list(mutate.PLACES)

    def sign(self, chance: Random, damaged: Damaged) -> None:
        if chance.random() < 0.3:
            return
        base, size = layouts.const("BF_WEIGHTS_BASE"), layouts.size("bf_model_header")
        count = layouts.unpack("bf_model_header", self._map[base : base + size]).parts
        if count > layouts.const("BF_MODEL_MOST_PARTS"):
            return
        head = self._map[base : base + size + count * layouts.size("bf_model_part")]
        at = layouts.offset("bf_model_header", "crc")
        damaged.put(base + at, zlib.crc32(head[:at] + bytes(4) + head[at + 4 :]).to_bytes(4, "little"))


class StockCore(MemoryTarget):
    name, share, round, file = "stock core", 2, 25, "stock.core"


class CoreHeaders(MemoryTarget):
    """ELF header, program headers and register notes."""

    name, share, round, file = "core headers", 10, 5, "own.core"
    _few = ("status", "cpu", "screen", "stack", "modules")

    def regions(self) -> list[Region]:
        with (self.folder / self.file).open("rb") as file:
            elf = ELFFile(file)
            notes = [s.header for s in elf.iter_segments() if s.header["p_type"] == "PT_NOTE"]
            table = Region(elf["e_phoff"], elf["e_phnum"] * elf["e_phentsize"])
        return [Region(0, 64), table, table, *(Region(note["p_offset"], note["p_filesz"]) for note in notes)]

    def questions(self, chance: Random) -> Iterator[str]:
        for name in self._few:
            yield " ".join(words_of(chance, name, self._places))


class TruncatedCore(MemoryTarget):
    """A core that was cut off, ever shorter."""

    name, share, round, file = "truncated cores", 4, 24, "own.core"

    def inputs(self, chance: Random) -> Iterator[str]:
        path = self.folder / self.file
        whole = path.stat().st_size
        sizes = [chance.randrange(whole) for _ in range(4)]
        sizes += [part.at + chance.randrange(part.size + 1) for part in chance.sample(self._parts, 4)]
        sizes += [chance.randrange(1 << chance.randint(1, 16)) for _ in range(4)]
        try:
            for size in sorted(sizes, reverse=True):
                os.truncate(path, size)
                for name in ("status", chance.choice(registry.names())):
                    yield " ".join(words_of(chance, name, self._places))
        finally:
            with (self.seeds / self.file).open("rb") as good, path.open("r+b") as file:
                good.seek(sizes[-1] and min(sizes))
                file.seek(min(sizes))
                for block in iter(lambda: good.read(1 << 20), b""):
                    if block.count(0) != len(block):
                        file.seek(good.tell() - len(block))
                        file.write(block)
                file.truncate(whole)
