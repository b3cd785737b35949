"""How much faster does a guest write when the host has compiled its kernels, and are its tokens the same?

One machine for each CPU, from its first token at O0 to the host's code, told by the guest's own clock. With the
project's small model always, with SmolLM2 where `make model` was called.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
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


def measure(image: Path) -> list[Row]:
    """For each model and CPU NAME_CPU_speedup, NAME_CPU_tokens_per_s and NAME_CPU_same (1 = each answer's logits are
    alike)."""
    firmware = image.parent
    rows: list[Row] = []
    for name, model, tokens in (("small", SMALL, 200), ("smollm2", LARGE, 24)):
        if not model.is_file():
            continue
        for cpu, goal in GOALS.items():
            goals = (goal, TOKENS_PER_SECOND if cpu == "max" else None) if name == "smollm2" else (None, None)
            rows += _of(f"{name}_{cpu}", _answers(firmware, model, cpu, tokens), *goals)
    return rows


def _of(name: str, answers: list[Inference], speedup: float | None, speed: float | None) -> list[Row]:
    first = _speeds(answers[0]).get(FIRST, 0.0)
    last = _speeds(answers[-1]).get(LAST, 0.0)
    same = len({(one.answer_tokens, one.logits_crc) for one in answers}) == 1
    return [
        row(f"{name}_speedup", last / first if first else 0.0, "x", speedup),
        row(f"{name}_tokens_per_s", last, "tokens/s", speed, peer="at O0", peer_value=first),
        row(f"{name}_same", float(same), "", 1),
    ]


def _speeds(answer: Inference) -> dict[str, float]:
    return {one.tier: one.tokens_per_second or 0.0 for one in answer.speeds if one.tokens}


def _answers(firmware: Path, model: Path, cpu: str, tokens: int) -> list[Inference]:
    """To one question, again and again: the first begins at O0, the last is by the host's code alone."""
    with _machine(firmware, model, cpu) as machine:
        memory = machine.memory()
        # In the place of the question that is in the image.
        memory.write(Address(model_record(memory).question), bytes(4), "question")
        ask(memory, PROMPT, tokens, chat=False)
        release_hold(memory, find_root(memory).root)
        answers: list[Inference] = []
        while True:
            _wait(machine)
            memory.invalidate()
            answer = Guest.attach(memory).kernel().inference()
            if not isinstance(answer, Inference):
                raise BareflowError(f"no model computes in {machine.name}: {answer.why}")
            answers.append(answer)
            if set(_speeds(answer)) == {LAST} or len(answers) == MOST_ANSWERS:
                return answers
            ask(memory, PROMPT, tokens, chat=False)


def _wait(machine: Machine) -> None:
    memory = machine.memory()
    until = time.monotonic() + SECONDS
    while is_answering(memory):
        if time.monotonic() > until:
            raise BareflowError(
                f"{machine.name} did not end its answer within {SECONDS:g} s; see {machine.serial_path}"
            )
        time.sleep(0.05)


@contextmanager
def _machine(firmware: Path, model: Path, cpu: str) -> Iterator[Machine]:
    """A guest with the model that waits before it answers, and a host that compiles for it."""
    with TemporaryDirectory(prefix="bf-bench-") as folder:
        disk = Path(folder) / "model.img"
        write_image([parse_file(f"{model}=MODEL.BFM")], disk)
        memory, _ = needed_mib(disk)
        machine = launch(firmware / "llama.img", disk=disk, memory_mib=memory, cpu=cpu, settings=RootSettings(hold=1))
        words = [sys.executable, "-m", "bareflow_gdb.cli.main", "serve", machine.name]
        host = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            wait_for_stage(machine, "registered", SECONDS)
            yield machine
        finally:
            host.kill()
            host.wait()
            machine.stop()
