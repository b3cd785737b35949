"""A machine with the language model's unikernel, to be asked, and what it must say by the reference."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

import tiny_models
from machines import SECONDS, wait_for

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.guest.model.conversation import Sampling, ask, is_answering
from bareflow_gdb.model.networks import GuestNetwork
from bareflow_gdb.model.packed_file import PackedFile
from bareflow_gdb.model.packing import pack, read_source
from bareflow_gdb.qemu.image import RootSettings, read_image_header
from bareflow_gdb.qemu.launch import launch

RECORD = layouts.size("bf_model_record")


class Question(NamedTuple):
    text: str
    tokens: int = 0
    """Of the answer, at most."""
    chat: bool = False
    sampling: Sampling | None = None
    """None = the likeliest token, always."""


class Answer(NamedTuple):
    tokens: list[int]
    crc: int
    """Of all logits that a token was taken from."""


def packed_model(folder: Path) -> Path:
    """A tiny one. F16 becomes two planes."""
    tiny_models.write_gguf(folder / "m.gguf", "F16")
    pack(read_source(folder / "m.gguf"), folder / "m.bfm")
    return folder / "m.bfm"


def text_tokens(file: PackedFile, question: Question) -> list[int]:
    """What the model reads."""
    words = file.vocabulary
    assert words is not None
    ids = words.encode(question.text, whole=not question.chat)
    if not question.chat:
        return ids
    around = file.chat()
    assert around is not None
    return around[0] + ids + around[1]


def reference(file: PackedFile, question: Question) -> Answer:
    """What it must say."""
    network = GuestNetwork(file)
    ids = text_tokens(file, question)
    found = network.answer(ids, question.tokens, file.model.eos, sampling=question.sampling)
    return Answer(list(found), network.crc)


class Llama:
    """A machine with a model in memory, to be asked."""

    def __init__(
        self,
        firmware: Path,
        thresholds: tuple[int, int, int],
        *,
        model: bytes = b"",
        disk: Path | None = None,
        cpu: str = "",
    ) -> None:
        """`model`: put into memory; `disk`: loaded by the guest. It waits for `release`."""
        self._answers = 0
        settings = RootSettings(hold=1, thresholds=thresholds)
        self.machine = launch(firmware / "llama.img", settings=settings, cpu=cpu, disk=disk, with_disk=disk is not None)
        try:
            wait_for_stage(self.machine, "registered", SECONDS)
            self._write(layouts.const("BF_WEIGHTS_BASE"), model)
        except BaseException:
            self.machine.stop()
            raise

    def _write(self, address: int, data: bytes) -> None:
        self.machine.memory().write(address, data, "what the model is asked")

    def release(self) -> None:
        self._write(read_image_header(self.machine.image).root + layouts.offset("bf_root", "hold"), bytes(4))

    def ask(self, question: Question) -> None:
        """When it has answered the one before."""
        memory = self.machine.memory()
        if self._answers:
            wait_for(lambda: not is_answering(memory), "the answer's end")
        else:
            # Instead of the question in the image.
            record = layouts.unpack(
                "bf_model_record", memory.read(layouts.const("BF_MODEL_RECORD_ADDRESS"), RECORD, "")
            )
            memory.write(record.question, bytes(4), "question")
        ask(memory, question.text, question.tokens, chat=question.chat, sampling=question.sampling)

    def answer(self) -> Answer:
        """The next one."""
        self._answers += 1

        def told() -> list[str]:
            return re.findall(r"\[llama\] tokens:.*\n", self.text())

        wait_for(lambda: len(told()) >= self._answers, "an answer")
        crcs = re.findall(r"logits CRC (0x\w{8})\n", self.text())
        tokens = told()[self._answers - 1].split()[2:]
        return Answer(list(map(int, tokens)), int(crcs[self._answers - 1], 16))

    def text(self) -> str:
        return self.machine.serial_path.read_text(errors="replace")
