"""Language models: GGUF, files of llama2.c, packed ones."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from random import Random

import tiny_models

from bareflow_gdb.abi import layouts
from bareflow_gdb.model.packing import pack, read_source
from fuzz import mutate
from fuzz.mutate import Damaged, Region
from fuzz.target import Target
from fuzz.verbs import run_verb

_DIMS = replace(tiny_models.DIMS, layers=1, context=16)
_HEAD = layouts.size("bf_model_header")
_PART = layouts.size("bf_model_part")


class ModelFile(Target):
    name, share, round = "language model", 3, 4

    def prepare(self) -> None:
        gguf, bin_, packed = (self.folder / name for name in ("m.gguf", "m.bin", "m.bfm"))
        tiny_models.write_gguf(gguf, "Q4_1", _DIMS)
        tiny_models.write_llama2c(bin_, 1, _DIMS)
        pack(read_source(gguf), packed)
        self._known = {path.name: path.read_bytes() for path in (gguf, bin_, packed)}

    def inputs(self, chance: Random) -> Iterator[str]:
        # Behind a right head, so that a part of all inputs is answered.
        (self.folder / "m.bfm").write_bytes(self._with_damaged_content(chance))
        yield chance.choice(("verify m.bfm", "generate m.bfm the --tokens 1"))
        (self.folder / "m.bfm").write_bytes(self._known["m.bfm"])
        name = chance.choice(("m.gguf", "m.gguf", "m.bin", "m.bfm", "m.bfm"))
        path, good = self.folder / name, self._known[name]
        path.write_bytes(self._packed(chance, good) if name == "m.bfm" else self._other(chance, good))
        if name == "m.bfm":
            yield f"info {name}{chance.choice(('', ' --json'))}"
            yield f"verify {name}"
            yield f"generate {name} the --tokens 1"
        else:
            yield f"pack {name} --out out.bfm"
        path.write_bytes(good)

    def _other(self, chance: Random, good: bytes) -> bytes:
        """A head of no fixed layout, and weights behind it."""
        if chance.random() < 0.2:
            damaged = Damaged(bytearray(good))
            mutate.regions(chance, damaged, [Region(20_000, len(good) - 20_000)], 4)
            return bytes(damaged.data)
        cut = chance.choice((64, 512, 4096, 12_000))
        known = [data[:cut] for data in self._known.values()]
        data = mutate.blob(chance, good[:cut], known) + good[cut:]
        return data if chance.random() < 0.8 else data[: chance.randrange(len(data))]

    def _content(self) -> Region:
        """All parts of the packed model."""
        good = self._known["m.bfm"]
        head = _HEAD + int.from_bytes(good[12:16], "little") * _PART
        return Region(head, len(good) - head)

    def _with_damaged_content(self, chance: Random) -> bytes:
        damaged = Damaged(bytearray(self._known["m.bfm"]))
        mutate.regions(chance, damaged, [self._content()], 6)
        return bytes(damaged.data)

    def _packed(self, chance: Random, good: bytes) -> bytes:
        damaged = Damaged(bytearray(good))
        count = int.from_bytes(good[12:16], "little")
        header, parts = Region(0, _HEAD, "bf_model_header"), Region(_HEAD, count * _PART, "bf_model_part")
        mutate.regions(chance, damaged, [header, parts, parts, self._content()], 4)
        data = bytearray(damaged.data)
        if chance.random() < 0.7:
            # What is behind the CRC is reached only with a right one.
            at = layouts.offset("bf_model_header", "crc")
            data[at : at + 4] = bytes(4)
            data[at : at + 4] = zlib.crc32(data[: _HEAD + count * _PART]).to_bytes(4, "little")
        return bytes(data) if chance.random() < 0.9 else bytes(data[: chance.randrange(len(data))])

    def ask(self, folder: Path, words: str) -> str:
        action, name, *rest = words.split()
        rest = [str(folder / word) if word.startswith("out") else word for word in rest]
        return run_verb(["model", action, str(folder / name), *rest])
