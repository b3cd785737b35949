"""A host compiles the model's kernels for the guest's CPU in mid-answer: the words stay, slower code is rolled back."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from llama import Answer, Llama, Question, packed_model, reference

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.model.conversation import Sampling
from bareflow_gdb.model.packed_file import PackedFile
from bareflow_gdb.qemu.image import read_image_header

QUESTION = Question("the other", 80, sampling=Sampling.of(0.8, 0.9, 1))
AT_ONCE = (1, 2, 3)
MOST_ANSWERS = 500


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def wanted(packed: Path) -> Answer:
    return reference(PackedFile.open(packed), QUESTION)


@contextmanager
def served(firmware: Path, packed: Path, cpu: str) -> Iterator[Llama]:
    llama = Llama(firmware, AT_ONCE, model=packed.read_bytes(), cpu=cpu)
    try:
        words = [sys.executable, "-m", "bareflow_gdb.cli.main", "serve", llama.machine.name]
        host = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            llama.ask(QUESTION)
            llama.release()
            yield llama
        finally:
            host.kill()
            host.wait()
    finally:
        llama.machine.stop()


def answered_until(llama: Llama, said: str, wanted: Answer) -> None:
    """Asks again and again until the guest has said this; each answer is the same."""
    for _ in range(MOST_ANSWERS):
        assert llama.answer() == wanted
        if re.search(said, llama.text()):
            return
        llama.ask(QUESTION)
    pytest.fail(f"{said} was not said in {MOST_ANSWERS} answers")


def features(llama: Llama, number: int) -> int:
    """Of a version."""
    memory = llama.machine.memory()
    root = layouts.unpack(
        "bf_root", memory.read(read_image_header(llama.machine.image).root, layouts.size("bf_root"), "root")
    )
    size = layouts.size("bf_version")
    raw = memory.read(root.version_table, size * layouts.const("BF_MAX_VERSIONS"), "versions")
    return next(
        int(one.features) for one in layouts.unpack_array("bf_version", raw, len(raw) // size) if one.number == number
    )


def test_vectors_come_in_the_middle_of_an_answer_and_nothing_else_changes(
    firmware: Path, packed: Path, wanted: Answer
) -> None:
    with served(firmware, packed, "max") as llama:
        answered_until(llama, r"\[MAILBOX\] matmul: installed version \d+ at O3", wanted)
        llama.ask(QUESTION)
        assert llama.answer() == wanted
        [number] = re.findall(r"\[MAILBOX\] matmul: installed version (\d+) at O3", llama.text())
        assert features(llama, int(number)) & layouts.const("BF_FEATURE_AVX2")


def test_code_that_is_slower_is_rolled_back(firmware: Path, packed: Path, wanted: Answer) -> None:
    # This CPU has SSE, which computes floats: the products of integers become code of single ones.
    with served(firmware, packed, "pentium3") as llama:
        answered_until(llama, r"\[llama\] matmul: version \d+ takes \d+ kilocycles a token, .*: rolled back", wanted)
        llama.ask(QUESTION)
        assert llama.answer() == wanted
