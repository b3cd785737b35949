"""What a machine leaves in its directory for other programs: machine.json."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from unittest import mock

from bareflow_gdb.qemu.process import started_at
from fuzz import mutate
from fuzz.target import Target
from fuzz.verbs import run_verb


class MachineRecord(Target):
    """Nothing is ended or removed here: what it names could be anything."""

    name, share, round = "machine.json", 10, 4

    def inputs(self, chance: Random) -> Iterator[str]:
        record = json.loads((self.seeds / "machine.json").read_text())
        if chance.random() < 0.8:
            # Of a process that lives: everything else in the record is used then.
            record |= {"pid": os.getpid(), "started": started_at(os.getpid()), "ram": str(self.seeds / "own.ram")}
        place = self.folder / "bareflow" / "fuzz-own"
        place.mkdir(parents=True, exist_ok=True)
        (place / "machine.json").write_bytes(mutate.json_text(chance, json.dumps(record).encode()))
        yield from ("list", "list --json", "modules fuzz-own", "serial")

    def ask(self, folder: Path, words: str) -> str:
        with mock.patch.dict(os.environ, XDG_RUNTIME_DIR=str(folder)):
            return run_verb(words.split())
