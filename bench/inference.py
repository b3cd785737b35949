"""How much faster does a guest write when the host has compiled its kernels, and are its tokens the same?

One machine for each CPU, from its first token at O0 to the host's code, told by the guest's own clock. With the
project's small model always, with SmolLM2 where `make model` was called.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from bareflow_gdb.build.fat_image import parse_file, write_image
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.find import find_root
from bareflow_gdb.guest.base.root import release_hold
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.guest.machine.needed_ram import needed_mib
from bareflow_gdb.guest.model.conversation import ask, is_answering
from bareflow_gdb.guest.model.inference import Inference, model_record
from bareflow_gdb.model.packed_file import SMALL
from bareflow_gdb.pgo.measure import NEVER
from bareflow_gdb.qemu.image import RootSettings
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine
from bench.row import Row, row

LARGE = Path(__file__).resolve().parent.parent / "build/models/smollm2.bfm"
PROMPT = "Once upon a time"
SECONDS = 300.0
"""For one answer."""
MOST_ANSWERS = 6
FIRST, LAST = "O0", "host"
GOALS = {"max": 10.0, "qemu32": 3.5}
"""The last tier over the first one, of SmolLM2."""
TOKENS_PER_SECOND = 6.0
MODELS = (("small", SMALL, 200), ("smollm2", LARGE, 24))
"""With the tokens of an answer."""


@dataclass
class Answering:
    """A guest with a model, which answers PROMPT."""

    machine: Machine
    _begun: bool = False

    def answer(self, tokens: int) -> Inference:
        """The next answer, when it is complete. Raises BareflowError."""
        memory = self.machine.memory()
        if not self._begun:
            # In the place of the question that is in the image.
            memory.write(Address(model_record(memory).question), bytes(4), "question")
        ask(memory, PROMPT, tokens, chat=False)
        if not self._begun:
            release_hold(memory, find_root(memory).root)
            self._begun = True
        until = time.monotonic() + SECONDS
        while is_answering(memory):
            if time.monotonic() > until:
                raise BareflowError(
                    f"{self.machine.name} did not end its answer within {SECONDS:g} s; see {self.machine.serial_path}"
                )
            time.sleep(0.05)
        memory.invalidate()
        found = Guest.attach(memory).kernel().inference()
        if not isinstance(found, Inference):
            raise BareflowError(f"no model computes in {self.machine.name}: {found.why}")
        return found


@contextmanager
def answering(image: Path, model: Path, cpu: str, *, compiles: bool = True, more_mib: int = 0) -> Iterator[Answering]:
    """A guest that waits for its first question. `compiles`: by a host of its own; else it keeps the code it has."""
    with TemporaryDirectory(prefix="bf-bench-") as folder, ExitStack() as stack:
        disk = Path(folder) / "model.img"
        write_image([parse_file(f"{model}=MODEL.BFM")], disk)
        memory, _ = needed_mib(disk)
        settings = RootSettings(hold=1) if compiles else RootSettings(hold=1, thresholds=NEVER)
        machine = launch(image, disk=disk, memory_mib=memory + more_mib, cpu=cpu, settings=settings)
        stack.callback(machine.stop)
        if compiles:
            words = [sys.executable, "-m", "bareflow_gdb.cli.main", "serve", machine.name]
            host = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(host.wait)
            stack.callback(host.kill)
        wait_for_stage(machine, "registered", SECONDS)
        yield Answering(machine)


def measure(image: Path) -> list[Row]:
    """For each model and CPU NAME_CPU_speedup, NAME_CPU_tokens_per_s and NAME_CPU_same (1 = each answer's logits are
    alike)."""
    rows: list[Row] = []
    for name, model, tokens in MODELS:
        if not model.is_file():
            continue
        for cpu, goal in GOALS.items():
            goals = (goal, TOKENS_PER_SECOND if cpu == "max" else None) if name == "smollm2" else (None, None)
            with answering(image.parent / "llama.img", model, cpu) as guest:
                rows += _of(f"{name}_{cpu}", _answers(guest, tokens), *goals)
    return rows


def _answers(guest: Answering, tokens: int) -> list[Inference]:
    """To one question, again and again: the first begins at O0, the last is by the host's code alone."""
    answers = [guest.answer(tokens)]
    while set(speeds(answers[-1])) != {LAST} and len(answers) < MOST_ANSWERS:
        answers.append(guest.answer(tokens))
    return answers


def _of(name: str, answers: list[Inference], speedup: float | None, speed: float | None) -> list[Row]:
    first = speeds(answers[0]).get(FIRST, 0.0)
    last = speeds(answers[-1]).get(LAST, 0.0)
    same = len({(one.answer_tokens, one.logits_crc) for one in answers}) == 1
    return [
        row(f"{name}_speedup", last / first if first else 0.0, "x", speedup),
        row(f"{name}_tokens_per_s", last, "tokens/s", speed, peer="at O0", peer_value=first),
        row(f"{name}_same", float(same), "", 1),
    ]


def speeds(answer: Inference) -> dict[str, float]:
    """Tokens a second by tier, of the tiers that an answer had."""
    return {one.tier: one.tokens_per_second or 0.0 for one in answer.speeds if one.tokens}
