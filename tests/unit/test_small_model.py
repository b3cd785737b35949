"""The small model that comes with the suite: it is the one that was learnt, and says what it is known to say."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bareflow_gdb.cli import main as cli
from bareflow_gdb.model.networks import FloatNetwork, GuestNetwork
from bareflow_gdb.model.packed_file import SMALL, PackedFile
from models.small import corpus, expect, tokens
from models.small.settings import DIMS, LEARNT_TEXTS, SEED

EXPECTED: dict[str, Any] = json.loads(expect.EXPECTED.read_text())
LOG = expect.EXPECTED.with_name("training.log").read_text()
MOST_BYTES = 1_200_000
MOST_LOST = 0.001
"""Nats a token. A model may lose 0.03, but this one would not lose that even with vectors of 4 bits."""


@pytest.fixture(scope="module")
def small() -> PackedFile:
    return PackedFile.open(SMALL)


def test_the_file_is_the_recorded_one_and_whole(small: PackedFile) -> None:
    assert hashlib.sha256(small.data).hexdigest() == EXPECTED["sha256"]
    assert len(small.data) <= MOST_BYTES
    assert list(small.damages()) == []
    assert small.model.dims == replace(DIMS, epsilon=float(np.float32(DIMS.epsilon)))
    assert {part.planes for part in small.model.parts} == {0, 1, 2}, "the guest's kernel is used with 4 and with 8 bits"


def test_the_scripts_make_the_corpus_and_the_tokens_that_were_learnt(small: PackedFile) -> None:
    texts = list(corpus.texts(SEED, LEARNT_TEXTS))
    assert corpus.digest(texts) in LOG
    assert tokens.learnt(texts, DIMS.vocabulary) == small.vocabulary


@pytest.mark.parametrize("known", EXPECTED["answers"], ids=lambda known: known["prompt"][-32:])
def test_the_reference_says_what_is_expected_of_the_guest(small: PackedFile, known: dict[str, Any]) -> None:
    assert expect.answer(small, known["prompt"], known["tokens"], chat=known["chat"]) == known
    assert known["gap"] >= expect.LEAST_GAP


def test_one_answer_comes_to_its_end_and_one_is_a_chats() -> None:
    assert any(len(answer["answer"]) < answer["tokens"] for answer in EXPECTED["answers"])
    assert any(answer["chat"] for answer in EXPECTED["answers"])


def test_the_guests_integers_cost_little(small: PackedFile) -> None:
    recorded = EXPECTED["nats_per_token"]
    assert recorded["tokens"] == 1000
    assert abs(recorded["integers"] - recorded["floats"]) <= MOST_LOST
    rows = expect.unseen(small, 1)
    assert abs(expect.nats(GuestNetwork(small), rows) - expect.nats(FloatNetwork(small), rows)) <= MOST_LOST


def strangers(told: str) -> set[str]:
    """Names in a story that nobody in it was introduced by."""
    names = {name for names in corpus.NAMES.values() for name in names}
    return names & set(re.findall(r"\w+", told)) - set(re.findall(r"(?:named|friend was) (\w+)", told))


def test_names_do_not_drift() -> None:
    assert strangers("a fox named Anna. His friend was Ben. Clara and Ben sang.") == {"Clara"}
    assert [strangers(answer["prompt"] + answer["said"]) for answer in EXPECTED["answers"]] == [set()] * 5


def test_generate_takes_the_small_model_when_none_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    known = EXPECTED["answers"][0]
    assert cli.main(["model", "generate", "--json", known["prompt"], "--tokens", "6"]) == 0
    assert json.loads(capsys.readouterr().out)["answer"] == known["answer"][:6]
    assert cli.main(["model", "generate", str(SMALL), "--tokens", "6", known["prompt"]]) == 0
    assert known["said"].startswith(capsys.readouterr().out.rstrip("\n"))


def test_a_model_without_a_text_is_not_taken_for_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.bfm"
    other.write_bytes(b"x")
    assert cli.main(["model", "generate", str(other)]) == 2
    assert "no text follows it" in capsys.readouterr().err
