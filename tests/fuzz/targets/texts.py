"""Texts of QEMU and of kernels: its monitor's answers, the serial log of a stock kernel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.memory.cpu import parse_registers
from bareflow_gdb.memory.dump import RawDump
from bareflow_gdb.qemu.disk import image_path, opened
from bareflow_gdb.render.jsonable import dumps
from fuzz import mutate
from fuzz.target import Target
from fuzz.verbs import run_verb

_LINES = (
    b"ide0-hd1 (#block): ",
    b"ide0-hd1: \n",
    b"Backing file: x (chain depth: 9)",
    b"EIP=",
    b"GDT=     ",
    b"pic0: irr=",
)


class _Told(RawDump):
    """A good memory whose monitor says this."""

    text = ""

    def monitor(self, command: str) -> str:  # noqa: ARG002 - whatever is asked
        return self.text


class MonitorTexts(Target):
    name, share, round = "monitor texts", 280, 3
    _names = ("registers", "block", "pic")

    def prepare(self) -> None:
        self._memory = _Told(self.seeds / "own.ram")
        self._kernel = Guest.attach(self._memory).kernel()
        self._texts = {name: (self.seeds / f"{name}.txt").read_bytes() for name in ("registers", "block", "pic")}

    def inputs(self, chance: Random) -> Iterator[str]:
        for name, text in self._texts.items():
            damaged = mutate.blob(chance, text, tuple(self._texts.values()), (*mutate.TOKENS, *_LINES))
            (self.folder / "text").write_bytes(damaged)
            yield "stack" if name == "registers" and chance.random() < 0.1 else name

    def ask(self, folder: Path, words: str) -> str:
        self._memory.text = (folder / "text").read_bytes().decode("latin-1")
        if words == "registers":
            return dumps(parse_registers(self._memory.text))
        if words == "block":
            path = image_path(self._memory)
            # What it is called is shown in this sentence, as by `fat list`.
            with opened(path if path.is_relative_to(folder) else folder / path.name):
                return ""
        return dumps(self._kernel.irq() if words == "pic" else self._kernel.stack())


class SerialLog(Target):
    name, share, round = "stock serial log", 5, 4

    def prepare(self) -> None:
        self._log = (self.seeds / "serial.log").read_bytes()

    def inputs(self, chance: Random) -> Iterator[str]:
        lines = self._log.splitlines(keepends=True)
        (self.folder / "serial.log").write_bytes(mutate.blob(chance, self._log, (), (*mutate.TOKENS, *lines[:50])))
        yield "serial"
        yield "serial --last 100 --json"
        yield "status"
        yield "report --out OUT"
        yield "report --out OUT --serial LOG CORE"
        yield "guest"

    def ask(self, folder: Path, words: str) -> str:
        if words != "guest":
            log, core = str(folder / "serial.log"), str(self.seeds / "stock.ram")
            if "CORE" not in words:
                words += " LOG"
            given = {"LOG": log, "CORE": core, "OUT": str(folder / "report.html")}
            return run_verb([given.get(word, word) for word in words.split()])
        guest = Guest.attach(RawDump(self.seeds / "stock.ram"))
        guest.serial_log = lambda: (folder / "serial.log").read_text(encoding="latin-1")
        return dumps(guest.kernel().swaps())
