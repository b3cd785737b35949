"""The language model's unikernel: it says what the reference says, bit by bit, while its kernels are replaced."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from llama import Answer, Llama, Question, packed_model, reference, text_tokens
from machines import SECONDS
from program import bareflow

from bareflow_gdb.build.fat_image import parse_file, write_image
from bareflow_gdb.guest.boot.wait import wait_for_serial, wait_for_stage
from bareflow_gdb.guest.model.conversation import Sampling
from bareflow_gdb.model.packed_file import PackedFile

KERNELS = ("embed", "rmsnorm", "quantise", "matmul", "rope", "attention", "add", "swiglu", "argmax", "sample")
QUESTIONS = [
    Question("the other", 24),
    Question("the other", 5, chat=True),
    Question("the", 90, sampling=Sampling.of(0.8, 0.9, 7)),
    Question("there is 12", 60),
]
THRESHOLDS = (5, 40, 80)
"""So that each kernel is replaced twice, in the middle of some answer."""


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def llama(firmware: Path, packed: Path) -> Iterator[Llama]:
    disk = packed.with_name("disk.img")
    write_image([parse_file(str(packed))], disk)
    made = Llama(firmware, THRESHOLDS, disk=disk)
    yield made
    made.machine.stop()


@pytest.fixture(scope="module")
def answers(llama: Llama) -> list[Answer]:
    """To all questions."""
    found = []
    for question in QUESTIONS:
        llama.ask(question)
        llama.release()
        found.append(llama.answer())
    return found


def test_tokens_and_all_logits_are_the_references_across_every_swap(
    llama: Llama, answers: list[Answer], packed: Path
) -> None:
    file = PackedFile.open(packed)
    assert answers == [reference(file, question) for question in QUESTIONS]
    assert re.search(r"\[MODEL\] M.BFM: \d+ bytes at 0x00800000 by DMA in ", llama.text())
    assert "[llama] > the other\n" in llama.text()
    assert re.search(r"\[llama\] matmul at O3: \d+ tokens, \d+\.\d tokens/s\n", llama.text())
    record = json.loads(bareflow("swaps", "--json", llama.machine.name).stdout)
    for name in KERNELS:
        told = [(one["from_level"], one["to_level"]) for one in record["swaps"] if one["function"] == name]
        assert told == [(0, 1), (1, 3)]
    # In the middle of the first answer, not before or after.
    lines = llama.text().splitlines()
    first = [lines.index(f"[RECOMPILE] matmul: {change}") for change in ("O0 -> O1", "O1 -> O3")]
    end = next(at for at, line in enumerate(lines) if "logits CRC" in line)
    assert lines.index("[llama] > the other") < first[0] < first[1] < end


@pytest.mark.usefixtures("answers")
def test_the_kernels_are_functions_like_any(llama: Llama) -> None:
    record = json.loads(bareflow("jit", "--json", llama.machine.name).stdout)
    told = [(one["name"], one["level"], one["agrees"]) for one in record["functions"]]
    assert told == [(name, 3, True) for name in KERNELS]
    done = bareflow("diagnose", llama.machine.name)
    assert done.returncode == 0, done.stdout
    assert (
        json.loads(bareflow("disas", "--json", "matmul", llama.machine.name).stdout)["lines"][0]["text"] == "push ebp"
    )


def test_each_token_and_layer_is_an_event(llama: Llama, answers: list[Answer], packed: Path) -> None:
    file = PackedFile.open(packed)
    text, tokens = text_tokens(file, QUESTIONS[-1]), answers[-1].tokens
    count = len(text) + len(tokens)
    told = [(one["answered"], one["token"], one["position"]) for one in fields(llama, "token", count)]
    assert told == [(int(at >= len(text)), token, at) for at, token in enumerate([*text, *tokens])]
    # The last token of an answer is not computed with: nothing comes after it.
    layers = [(one["layer"], one["position"]) for one in fields(llama, "layer", 4)]
    assert layers == [(0, count - 3), (1, count - 3), (0, count - 2), (1, count - 2)]


def fields(llama: Llama, kind: str, last: int) -> list[dict[str, int]]:
    """Of the last events of a type."""
    words = ("events", "--json", "--type", kind, "--last", str(last), llama.machine.name)
    return [one["fields"] for one in json.loads(bareflow(*words).stdout)]


def test_without_a_model_it_says_so_and_halts(firmware: Path) -> None:
    llama = Llama(firmware, THRESHOLDS)
    try:
        llama.release()
        wait_for_serial(llama.machine, "[llama] no model to run: there is no packed model", SECONDS)
        wait_for_stage(llama.machine, "halted", SECONDS)
    finally:
        llama.machine.stop()


def test_the_kernels_code_can_be_copied(firmware: Path) -> None:
    """What is relative in it names itself; the rest is constants of the image."""
    checked = 0
    for name in KERNELS:
        for level in ("O0", "O1", "O3"):
            with (firmware / f"llama/{name}.{level}.o").open("rb") as file:
                elf = ELFFile(file)
                table = elf.get_section_by_name(f".reljit_{name}_{level}")
                symbols = elf.get_section_by_name(".symtab")
                for entry in table.iter_relocations() if table else ():
                    section = elf.get_section(symbols.get_symbol(entry["r_info_sym"])["st_shndx"]).name
                    assert (entry["r_info_type"], section.startswith(".rodata")) == (1, True)  # R_386_32
                    checked += 1
    assert checked > 0
