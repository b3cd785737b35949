"""Compiled objects and module images: the linker of `bareflow recompile`, that of the build, its reader."""

from __future__ import annotations

import io
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from random import Random

from elftools.elf.elffile import ELFFile
from elftools.elf.relocation import RelocationSection
from elftools.elf.sections import SymbolTableSection

from bareflow_gdb.abi import layouts
from bareflow_gdb.build.module import link_module, read_module, require_same_data
from bareflow_gdb.gdb_ui.debug_object import Described, join
from bareflow_gdb.guest.base.exports import GuestSymbol
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.recompile.link import Linked, Room, link
from bareflow_gdb.recompile.objects import read_object, with_absolute_symbols
from fuzz import mutate
from fuzz.mutate import Damaged, Region
from fuzz.target import Target

ROOM = Room(code=0x20008, code_capacity=32768, rodata=0x480018, rodata_capacity=32768)
_SHA_BYTES = 32


def _regions(data: bytes) -> list[Region]:
    elf = ELFFile(io.BytesIO(data))
    table = Region(elf["e_shoff"], elf["e_shnum"] * elf["e_shentsize"])
    found = [Region(0, 52), table, table]
    for section in elf.iter_sections():
        if isinstance(section, SymbolTableSection | RelocationSection) or section.name.endswith("strtab"):
            found.append(Region(section["sh_offset"], section["sh_size"]))
    return [part for part in found if part.size]


class Objects(Target):
    name, share, round = "objects: linkers, module reader", 120, 4

    def prepare(self) -> None:
        built = self.seeds.parent.parent / "firmware" / "modules"
        self._objects = []
        for path in sorted(built.glob("*.O?.o")):
            data, name = path.read_bytes(), path.name.split(".")[0]
            self._objects.append((name, data, _regions(data)))
        self._images = [path.read_bytes() for path in sorted(built.glob("*.mod"))]

    def inputs(self, chance: Random) -> Iterator[str]:
        name, good, known = chance.choice(self._objects)
        damaged = Damaged(bytearray(good))
        mutate.regions(chance, damaged, known, 4)
        data = bytes(damaged.data)
        (self.folder / "code.o").write_bytes(mutate.blob(chance, data) if chance.random() < 0.1 else data)
        yield f"link {name}"
        yield f"module {name}"
        (self.folder / "image.mod").write_bytes(self._image(chance))
        yield "read"
        yield f"debug {name}"

    def _image(self, chance: Random) -> bytes:
        """A module image, mostly with a right digest: nothing behind it is reached otherwise."""
        image = chance.choice(self._images)
        body = layouts.unpack("module_header_t", image).code_size + layouts.size("module_header_t")
        tail = layouts.size("bf_module_tail")
        header = Region(0, layouts.size("module_header_t"), "module_header_t")
        known = [header, Region(body - tail, tail, "bf_module_tail"), Region(body, 8), Region(body - tail - 80, 80)]
        damaged = Damaged(bytearray(image))
        mutate.regions(chance, damaged, known, 4)
        data = bytes(damaged.data)
        if chance.random() < 0.2:
            data = mutate.blob(chance, data, self._images)
        if chance.random() < 0.9:
            data = data[:-_SHA_BYTES] + sha256(data[:-_SHA_BYTES]).digest()
        return data

    def ask(self, folder: Path, words: str) -> str:
        action, _, name = words.partition(" ")
        if action == "read":
            image = (folder / "image.mod").read_bytes()
            found = read_module(image)
            require_same_data(image, self._images[0], "the first")
            return str(found.name)
        data, entry = (folder / "code.o").read_bytes(), f"{name}_main"
        if action == "module":
            return str(len(link_module(data, name, entry)))
        writable = read_object(data).writable()
        shared = {s.name: GuestSymbol(s.name, Address(0x500000 + 64 * i), s.size) for i, s in enumerate(writable)}
        made = link(data, entry, ROOM, shared, {"memcpy": 0x12000})
        if isinstance(made, Linked):
            with_absolute_symbols(made.data, made.fixed)
            if action == "debug":
                described = Described("v1", (name,), ROOM.code, len(made.code), ROOM.code, data, made.sections)
                return str(len(join([described])))
        return str(made)


class DebugObjects(Target):
    """What gdb is told about a version: its object, whatever the linker says of it."""

    name, share, round = "objects: for debuggers", 8, 2

    def prepare(self) -> None:
        Objects.prepare(self)  # type: ignore[arg-type] # the same objects

    def inputs(self, chance: Random) -> Iterator[str]:
        name, good, known = chance.choice(self._objects)  # type: ignore[attr-defined]
        damaged = Damaged(bytearray(good))
        mutate.regions(chance, damaged, known, 4)
        (self.folder / "code.o").write_bytes(bytes(damaged.data)[: chance.choice((len(good), chance.randrange(99)))])
        yield f"join {name}"
        yield f"fix {name}"

    def ask(self, folder: Path, words: str) -> str:
        data, name = (folder / "code.o").read_bytes(), words.split()[1]
        if words.startswith("fix"):
            # Only what the linker has taken comes here.
            read_object(data)
            return str(len(with_absolute_symbols(data, {f"{name}_main": 0x20000})))
        described = Described("v1", (name,), 0x20000, 64, 0x20000, data, {".text": 0x20000, ".rodata": 0x30000})
        return str(len(join([described, described])))
