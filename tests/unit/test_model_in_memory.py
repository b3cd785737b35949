"""A language model in memory may say anything: what it says is bounded, or refused in one sentence."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import numpy as np
import pytest
from fake_guest import ROOT, Bytes, FakeGuest

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData, BareflowError
from bareflow_gdb.guest.base.find import read_root
from bareflow_gdb.guest.model import tensors
from bareflow_gdb.guest.model.inference import NoInference, read_inference
from bareflow_gdb.guest.model.places import kept_ranges, model_memory, place_at
from bareflow_gdb.guest.model.weights import read_weights
from bareflow_gdb.model.comparing import Comparison, compare, reference_for
from bareflow_gdb.model.packed import head_bytes
from bareflow_gdb.model.packed_file import SMALL, PackedFile
from bareflow_gdb.model.snapshot import take

BASE = layouts.const("BF_WEIGHTS_BASE")
RECORD = layouts.const("BF_MODEL_RECORD_ADDRESS")
INFERENCE, BUFFERS, IDS, KEPT, POSITIONS, KEYS = 0x60000, 0x61000, 0x62000, 0xC00000, 0x63000, 0xC10000
NONE = layouts.const("BF_INFERENCE_NONE")


class Guest:
    """The small model in a fake guest, which has computed three tokens."""

    def __init__(self) -> None:
        self.memory = Bytes(16 << 20)
        fake = FakeGuest().build()
        self.memory.put(0, bytes(fake.ram))
        self.model = bytearray(SMALL.read_bytes())
        self.buffers: list[dict[str, Any]] = [
            {"name": b"logits", "type": 0, "address": KEYS + 0x90000, "rows": 1, "columns": 512},
            {"name": b"keys", "type": 0, "address": KEYS, "rows": 5 * 64, "columns": 32},
            {"name": b"values", "type": 0, "address": KEYS + 0x40000, "rows": 5 * 64, "columns": 32},
        ]
        self.inference: dict[str, Any] = {
            "magic": layouts.const("BF_INFERENCE_MAGIC"),
            "size": layouts.size("bf_inference"),
            "state": 2,
            "positions": 64,
            "position": 3,
            "layer": NONE,
            "kernel": NONE,
            "ids": IDS,
            "text_count": 3,
            "count": 1,
            "wanted": 9,
            "logits_position": 2,
            "buffers": BUFFERS,
            "kept": KEPT,
            "kept_positions": POSITIONS,
            "kept_rows": 11,
        }

    def build(self) -> Bytes:
        put = self.memory.put
        magic = layouts.const("BF_MODEL_RECORD_MAGIC")
        put(RECORD, layouts.pack("bf_model_record", magic=magic, bytes=len(self.model), inference=INFERENCE))
        put(BASE, bytes(self.model))
        self.inference.setdefault("buffer_count", len(self.buffers))
        put(BUFFERS, b"".join(layouts.pack("bf_buffer", **buffer) for buffer in self.buffers))
        put(INFERENCE, layouts.pack("bf_inference", **self.inference))
        put(IDS, struct.pack("<4I", 0, 357, 359, 259))
        put(POSITIONS, struct.pack("<11I", *[2] * 11))
        return self.memory

    def right(self) -> None:
        """The head's CRC is made anew."""
        size = head_bytes(int.from_bytes(self.model[12:16], "little"))
        self.model[8:12] = bytes(4)
        self.model[8:12] = zlib.crc32(self.model[:size]).to_bytes(4, "little")

    def head(self, field: str, value: int) -> None:
        at = layouts.offset("bf_model_header", field)
        self.model[at : at + 4] = value.to_bytes(4, "little")

    def part(self, index: int, field: str, value: int) -> None:
        at = head_bytes(index) + layouts.offset("bf_model_part", field)
        self.model[at : at + 4] = value.to_bytes(4, "little")


def test_a_healthy_one_is_read() -> None:
    memory = Guest().build()
    root = read_root(memory, ROOT)
    told = read_inference(memory, root)
    assert not isinstance(told, NoInference) and told.problems == ()
    assert (told.position, told.text_tokens, told.answer_tokens, told.state) == (3, (0, 357, 359), (259,), "answering")
    named = tensors.read_tensors(memory, root)
    assert named["blk.3.values"].address == KEYS + 0x40000 + 3 * 64 * 32 * 4
    assert (named["blk.4.keys"].rows, named["blk.1.attn_add"].position) == (3, 2)
    file = PackedFile.open(SMALL)
    assert read_weights(memory).head == file.data[: len(read_weights(memory).head)]
    part = named["blk.2.ffn_up.weight"]
    rows = list(tensors.read_rows(memory, part, [0, 17, 255]))
    wanted = file.rows(file.part(part.name)).floats(1)[[0, 17, 255], :96]
    assert np.array_equal(np.array(rows, np.float32).view(np.uint32), wanted.view(np.uint32))


HEADS: dict[str, tuple[str, Any]] = {
    "no model": ("there is no language model in memory", lambda g: g.head("magic", 1)),
    "another version": ("is packed in version 9", lambda g: g.head("version", 9)),
    "many parts": ("claims 4,294,967,295 parts", lambda g: g.head("parts", 0xFFFFFFFF)),
    "no parts": ("claims 0 parts", lambda g: g.head("parts", 0)),
    "parts beyond its end": ("claims 54 parts", lambda g: g.head("file_bytes", 200)),
    "damaged": ("has CRC 0x", lambda g: g.head("dim", 97)),
    "large": ("those of no model", lambda g: (g.head("vocabulary", 1 << 30), g.right())),
    "no layers": ("those of no model", lambda g: (g.head("layers", 0), g.right())),
    "many layers": ("those of no model", lambda g: (g.head("layers", 70_000), g.right())),
    "a part outside": (
        "part token_embd.weight of the model",
        lambda g: (g.part(EMBEDDING, "offset", 1 << 31), g.right()),
    ),
    "a part's planes": ("part token_embd.weight of the model", lambda g: (g.part(EMBEDDING, "planes", 3), g.right())),
    "a part's rows": ("part token_embd.weight of the model", lambda g: (g.part(EMBEDDING, "rows", 1 << 31), g.right())),
    "a part without columns": (
        "part token_embd.weight of the model",
        lambda g: (g.part(EMBEDDING, "columns", 0), g.right()),
    ),
}
EMBEDDING = [part.name for part in PackedFile.open(SMALL).model.parts].index("token_embd.weight")


@pytest.mark.parametrize("case", HEADS)
def test_a_head_that_cannot_be_right_is_refused(case: str) -> None:
    why, damage = HEADS[case]
    guest = Guest()
    damage(guest)
    memory = guest.build()
    root = read_root(memory, ROOT)
    with pytest.raises(BadData, match=why):
        read_weights(memory)
    told = read_inference(memory, root)
    assert isinstance(told, NoInference) and why in told.why
    assert model_memory(memory) is None and place_at(memory, root, BASE + 0x8000) is None


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("kept_rows", 1 << 31, "claims to keep 2,147,483,648 rows"),
        ("kept_positions", 0xFFFFFFF0, "positions of the kept stream"),
        ("buffers", 0xFFFFFFF0, "model's buffers"),
    ],
)
def test_what_it_computes_with_is_refused_where_it_cannot_be(field: str, value: int, why: str) -> None:
    guest = Guest()
    guest.inference[field] = value
    memory = guest.build()
    with pytest.raises(BareflowError, match=why):
        tensors.read_tensors(memory, read_root(memory, ROOT))
    with pytest.raises(BareflowError):
        take(memory, read_weights(memory))


@pytest.mark.parametrize(("rows", "columns", "kind"), [(0, 1, 0), (1 << 31, 1, 0), (1, 1 << 31, 0), (1, 1, 7)])
def test_a_tensor_that_cannot_be_is_refused(rows: int, columns: int, kind: int) -> None:
    guest = Guest()
    guest.buffers.append({"name": b"bad\x1b[2J", "type": kind, "address": KEYS, "rows": rows, "columns": columns})
    memory = guest.build()
    with pytest.raises(BadData, match=r"the guest claims a tensor bad\?\[2J of"):
        tensors.read_tensors(memory, read_root(memory, ROOT))


def test_counts_of_the_guest_are_capped_and_told() -> None:
    guest = Guest()
    guest.inference |= {
        "text_count": 1 << 30,
        "position": 1 << 20,
        "kernel": 31,
        "job": 1 << 31,
        "layer": 4,
        "state": 9,
    }
    memory = guest.build()
    told = read_inference(memory, read_root(memory, ROOT))
    assert not isinstance(told, NoInference)
    assert len(told.text_tokens) == 16384 and (told.kernel, told.doing, told.layer) == ("", "", 4)
    assert told.state == "unknown(9)"
    assert "the guest claims 1,073,741,825 tokens: the first 16,384 are shown" in told.problems
    assert "position 1,048,576 of 64 is none: was the record overwritten?" in told.problems


def test_tokens_cannot_move_the_cursor() -> None:
    guest = Guest()
    memory = guest.build()
    text = next(part for part in read_weights(memory).parts if part.kind == "TOKEN_TEXT")
    memory.put(text.address, b"\x1b[2J\xff" * (text.bytes // 5))
    told = read_inference(memory, read_root(memory, ROOT))
    assert not isinstance(told, NoInference) and told.text
    assert told.text.isprintable() and "?" in told.text and "2J" in told.text


def test_long_statistics_tell_how_far_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = Guest().build()
    monkeypatch.setattr(tensors, "_PATIENCE_SECONDS", 0)
    said: list[str] = []
    named = tensors.read_tensors(memory, read_root(memory, ROOT))
    told = tensors.report(memory, named["blk.0.attn_k.weight"], None, 8, every=True, say=said.append)
    assert told.statistics.rows == 32 and said[-1] == "32 of 32 rows looked at"


def test_a_kernel_of_before_tells_nothing_of_it() -> None:
    guest = Guest()
    fake = FakeGuest()
    fake.root["abi_minor"] = 4
    guest.memory.put(0, bytes(fake.build().ram))
    memory = guest.build()
    told = read_inference(memory, read_root(memory, ROOT))
    assert isinstance(told, NoInference) and "debug interface, 1.4, tells nothing of a model at work" in told.why
    assert "blk.0.keys" not in tensors.read_tensors(memory, read_root(memory, ROOT))


def test_a_kept_row_of_a_token_that_was_not_computed_is_not_taken() -> None:
    guest = Guest()
    guest.inference |= {"text_count": 16}
    memory = guest.build()
    memory.put(POSITIONS, struct.pack("<3I", 4, 3, 2))
    taken = take(memory, read_weights(memory))
    # The token at 3 is computed now; that at 4 has no keys yet.
    assert [None if row is None else row[0] for row in taken.kept[:3]] == [None, 3, 2]
    assert taken_and_compared(memory).position == 3


def ask_all(memory: Bytes) -> None:
    """What the suite asks of a model in memory; raises BareflowError only."""
    root = read_root(memory, ROOT)
    asks: tuple[Callable[[], object], ...] = (
        lambda: read_inference(memory, root),
        lambda: [
            tensors.report(memory, tensor, None, 8)
            for tensor in tensors.read_tensors(memory, root).values()
            if tensor.name in ("logits", "blk.0.keys", "blk.4.attn_add", "blk.1.attn_q.weight")
        ],
        lambda: model_memory(memory),
        lambda: [place_at(memory, root, address) for address in (BASE + 0x20000, KEYS + 77, KEPT + 5, INFERENCE)],
        lambda: kept_ranges(memory, root),
        lambda: taken_and_compared(memory),
    )
    for ask in asks:
        with suppress(BareflowError):
            ask()


def taken_and_compared(memory: Bytes) -> Comparison:
    weights = read_weights(memory)
    file, reference = reference_for(memory, weights, None, None)
    return compare(take(memory, weights), file, reference, None)


@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_overwritten_nothing_but_a_sentence_comes_of_it(seed: int) -> None:
    chance = Random(seed)
    whole = bytes(Guest().build().ram)
    words = (0, 1, 2, 31, 64, 255, 4096, 1 << 16, 1 << 20, 1 << 24, 1 << 31, NONE, NONE - 3, BASE, KEYS)
    for _ in range(12):
        memory = Bytes(len(whole))
        memory.put(0, whole)
        for _ in range(chance.randint(1, 3)):
            layout, at = chance.choice(
                (
                    ("bf_inference", INFERENCE),
                    ("bf_buffer", BUFFERS),
                    ("bf_buffer", BUFFERS + 36),
                    ("bf_model_record", RECORD),
                    ("bf_buffer", POSITIONS),
                    ("bf_event", IDS),
                )
            )
            place = at + 4 * chance.randrange(layouts.size(layout) // 4)
            memory.put(place, (chance.choice(words) & 0xFFFFFFFF).to_bytes(4, "little"))
        ask_all(memory)
