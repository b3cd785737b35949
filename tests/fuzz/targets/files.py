"""Files of a kernel's build: FAT16 images, bitcode, the kernel's ELF, boot disks."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from random import Random

from elftools.elf.elffile import ELFFile

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.code.bitstream import read_producer
from bareflow_gdb.qemu.image import SECTOR, RootSettings, image_crc, patched_copy, read_image_header, root_magic
from bareflow_gdb.recompile.wrapped import unwrap
from bareflow_gdb.render.jsonable import dumps
from fuzz import mutate
from fuzz.mutate import Damaged, Region
from fuzz.questions import words_of
from fuzz.seeds import copy_sparse, parts
from fuzz.target import Target
from fuzz.verbs import run_verb


class FatImage(Target):
    name, share, round = "FAT16 image", 80, 5
    _file = "fat16.img"

    def prepare(self) -> None:
        copy_sparse(self.seeds / self._file, self.folder / self._file)
        with (self.folder / self._file).open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
        reserved, fats, entries = (int.from_bytes(self._map[a:b], "little") for a, b in ((14, 16), (16, 17), (17, 19)))
        fat = int.from_bytes(self._map[22:24], "little") * SECTOR
        directory = Region((reserved * SECTOR) + fats * fat, min(entries, 24) * 32)
        boot = Region(0, 62)
        self._parts = [boot, boot, directory, directory, Region(reserved * SECTOR, 400)]

    def inputs(self, chance: Random) -> Iterator[str]:
        damaged = Damaged(self._map)
        try:
            mutate.regions(chance, damaged, self._parts, 6)
            yield "fat list"
            yield "fat list --json"
            names = [bytes(self._map[at : at + 11]) for at in range(self._parts[2].at, self._parts[2].at + 128, 32)]
            for raw in chance.sample(names, 2):
                text = raw.decode("latin-1")
                stem, suffix = text[:8].strip() or "X", text[8:].strip() or "X"
                yield f"fat cat {stem}.{suffix}{chance.choice(('', ' --json'))}"
        finally:
            damaged.restore()

    def ask(self, folder: Path, words: str) -> str:
        verb, action, *name = words.replace("--json", "").split(" ", 2)
        options = ["--json"] if "--json" in words else []
        # A name may begin with a dash, or hold a blank.
        name = [part for part in name if part and not part.startswith("-")]
        said = run_verb([verb, action, *name, str(folder / self._file), *options])
        # Without --json `fat cat` gives the file's bytes as they are.
        return said if action == "list" or options else ""


class Bitcode(Target):
    name, share, round = "bitcode stream and wrapper", 330, 2

    def prepare(self) -> None:
        built = self.seeds.parent.parent / "firmware" / "modules"
        self._streams = [path.read_bytes() for path in sorted(built.glob("*.bc"))]
        self._wrapped = [path.read_bytes() for path in sorted(built.glob("*.wrapped"))]

    def inputs(self, chance: Random) -> Iterator[str]:
        for word, known in (("stream", self._streams), ("wrapped", self._wrapped)):
            data = chance.choice(known)
            if chance.random() < 0.7:
                # The head is what is decoded; more of it is hit when there is little else.
                cut = chance.choice((128, 512, 2048))
                data = mutate.blob(chance, data[:cut], known) + data[cut:]
            else:
                data = mutate.blob(chance, data, known)
            (self.folder / "bitcode").write_bytes(data)
            yield word

    def ask(self, folder: Path, words: str) -> str:
        data = (folder / "bitcode").read_bytes()
        if words == "wrapped":
            wrapped = unwrap(data)
            return wrapped.entry + dumps(read_producer(wrapped.payload))
        return dumps(read_producer(data))


class KernelElf(Target):
    """Given with `--elf`, beside a good memory."""

    name, share, round = "kernel ELF", 10, 8
    _questions = ("identify", "stack", "disas", "status", "exception", "irq")

    def prepare(self) -> None:
        copy_sparse(self.seeds / "kernel.elf", self.folder / "kernel.elf")
        with (self.folder / "kernel.elf").open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 0)
            elf = ELFFile(file)
            table = Region(elf["e_shoff"], elf["e_shnum"] * elf["e_shentsize"])
            known = [Region(0, 52), table, table, Region(elf["e_phoff"], elf["e_phnum"] * elf["e_phentsize"])]
            for section in elf.iter_sections():
                if section.name in (".symtab", ".strtab", ".shstrtab") or section["sh_type"] == "SHT_NOTE":
                    known.append(Region(section["sh_offset"], min(section["sh_size"], 4096)))
        self._parts = known
        self._places = [part.at for part in parts(self.seeds, "own.ram")][:200]

    def inputs(self, chance: Random) -> Iterator[str]:
        damaged = Damaged(self._map)
        try:
            mutate.regions(chance, damaged, self._parts, 4)
            for name in self._questions:
                yield " ".join(words_of(chance, name, self._places))
            yield "status alone"
        finally:
            damaged.restore()

    def ask(self, folder: Path, words: str) -> str:
        elf = str(folder / "kernel.elf")
        if words.endswith(" alone"):
            return run_verb([words.removesuffix(" alone"), elf])
        return run_verb([*words.replace("primes #1", "primes").split(), str(self.seeds / "own.ram"), "--elf", elf])


class BootDisk(Target):
    """Image headers, by which a run is set up."""

    name, share, round = "image headers", 12, 3

    def prepare(self) -> None:
        self._good = (self.seeds / "fluid.img").read_bytes()[: 400 << 10]
        self._start = layouts.const("BF_IMAGE_LBA") * SECTOR
        root = self._good.index(root_magic())
        header = Region(self._start, layouts.size("bf_image_header"), "bf_image_header")
        self._parts = [header, header, Region(root, layouts.size("bf_root"), "bf_root"), Region(0, SECTOR)]

    def inputs(self, chance: Random) -> Iterator[str]:
        damaged = Damaged(bytearray(self._good))
        mutate.regions(chance, damaged, self._parts, 4)
        data = bytes(damaged.data)
        if chance.random() < 0.5:
            # What is behind the CRC is reached only with a right one.
            size = layouts.unpack("bf_image_header", data[self._start :]).image_bytes
            crc = image_crc(data[self._start : self._start + size]).to_bytes(4, "little")
            damaged.put(self._start + layouts.offset("bf_image_header", "crc"), crc)
        data = bytes(damaged.data)[: chance.choice((len(data), len(data), chance.randrange(len(data))))]
        (self.folder / "disk.img").write_bytes(data)
        yield "header"
        yield "copy"
        yield "boot"

    def ask(self, folder: Path, words: str) -> str:
        disk = folder / "disk.img"
        if words == "header":
            return dumps(read_image_header(disk))
        if words == "copy":
            patched_copy(disk, RootSettings(), folder / "out.img")
            return ""
        return run_verb(["boot", str(disk)])
