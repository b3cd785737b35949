"""What must the guest answer with the small model? `python -m models.small.expect` writes expected.json anew.

By the reference's integers, as the guest computes. An answer is kept only if no two logits that it was chosen from are
so near to one another that somebody else's rounding could take the other one.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bareflow_gdb.model.network import Network
from bareflow_gdb.model.networks import FloatNetwork, GuestNetwork
from bareflow_gdb.model.packed_file import SMALL, PackedFile
from models.small import corpus, tokens
from models.small.settings import OTHER_SEED

EXPECTED = Path(__file__).with_name("expected.json")
LEAST_GAP = 0.05
"""Between the likeliest token and the next, in logits."""
PREDICTED = 250
"""Tokens of a row that integers are compared with floats on."""
PROMPTS = {
    "Once upon a time": 200,
    "Once upon a time, there was a clever owl named": 64,
    "Once upon a time, there was a shy goat named Noah. Noah lived by the lake": 64,
    "Once upon a time, there was a kind bear named Emma. Emma lived in the forest and loved to bake bread. "
    "Her best friend was Jack, a quiet owl.\nOne day Emma had 7 nuts, but Jack had none.": 48,
}
"""And how many tokens are expected at most; the first answer comes to its end."""
QUESTIONS = {"Tell me a story about a brave dog named Leo.": 64}


def answer(file: PackedFile, prompt: str, count: int, *, chat: bool) -> dict[str, Any]:
    words = file.vocabulary
    assert words is not None
    ids = words.encode(prompt)
    if chat:
        around = file.chat()
        assert around is not None
        ids = around[0] + ids[words.begins :] + around[1]
    network = GuestNetwork(file)
    found = list(network.answer(ids, count, words.eos))
    return {
        "prompt": prompt,
        "chat": chat,
        "tokens": count,
        "ids": ids,
        "answer": found,
        "said": words.decode(found),
        "logits_crc": f"0x{network.crc:08x}",
        "gap": round(gap(file, ids, found), 3),
    }


def gap(file: PackedFile, ids: list[int], found: list[int]) -> float:
    """The smallest one between the likeliest token and the next."""
    logits = np.sort(GuestNetwork(file).logits(ids + found)[len(ids) - 1 :], axis=1)
    return float((logits[:, -1] - logits[:, -2]).min())


def unseen(file: PackedFile, rows: int) -> list[list[int]]:
    """Rows of texts that were not learnt; a row's tokens are predicted from those before them."""
    words = file.vocabulary
    assert words is not None
    ids = list(tokens.encoded(words, corpus.texts(OTHER_SEED, 4 * rows)))
    starts = [at for at, token in enumerate(ids) if token == words.bos]
    return [ids[start : start + PREDICTED + 1] for start in starts[: 2 * rows : 2]]


def nats(network: Network, rows: Sequence[Sequence[int]]) -> float:
    """A token, on average."""
    found = []
    for ids in rows:
        network.clear()
        logits = network.logits(ids[:-1]).astype(np.float64)
        logits -= logits.max(axis=1, keepdims=True)
        found.append(np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(logits)), ids[1:]])
    return float(np.concatenate(found).mean())


def expected() -> dict[str, Any]:
    file = PackedFile.open(SMALL)
    asked = [(prompt, count, False) for prompt, count in PROMPTS.items()]
    asked += [(prompt, count, True) for prompt, count in QUESTIONS.items()]
    answers = [answer(file, prompt, count, chat=chat) for prompt, count, chat in asked]
    near = [made["prompt"] for made in answers if made["gap"] < LEAST_GAP]
    if near:
        raise SystemExit(f"two logits are nearer than {LEAST_GAP} after {near}; take other prompts")
    rows = unseen(file, 4)
    return {
        "model": SMALL.name,
        "sha256": hashlib.sha256(SMALL.read_bytes()).hexdigest(),
        "nats_per_token": {
            "tokens": len(rows) * PREDICTED,
            "integers": round(nats(GuestNetwork(file), rows), 4),
            "floats": round(nats(FloatNetwork(file), rows), 4),
        },
        "answers": answers,
    }


if __name__ == "__main__":
    text = json.dumps(expected(), indent=1)
    # The tokens of an answer on one line.
    text = re.sub(r"\[[\d,\s]+\]", lambda ids: re.sub(r"\s+", " ", ids[0]).replace("[ ", "[").replace(" ]", "]"), text)
    EXPECTED.write_text(text + "\n", encoding="utf-8")
