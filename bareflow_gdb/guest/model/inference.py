"""What is a language model in the guest at? Model, position, layer and kernel, tokens, speed.

The record is `bf_inference`, which the model record points to, since 1.5.

Read budget: root 1, records 2, the model's head, then the tokens and their texts, which are left out where they cost
more than some packets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData, ReadError
from bareflow_gdb.foreign import lines
from bareflow_gdb.guest.base.clock import read_counters
from bareflow_gdb.guest.base.reading import ONE_PACKET, one, optional
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.base.values import TIERS, Address, Word, word
from bareflow_gdb.guest.code.functions import function_table
from bareflow_gdb.guest.model.weights import Weights, read_weights
from bareflow_gdb.memory.protocol import Memory

MOST_TOKENS = 16384
"""Of a text and its answer that are read."""
MATRIX_PRODUCT = "matmul"
"""The kernel that most of the time goes into: whose tier is a token's tier."""
_MOST_POSITIONS = 1 << 20
_MOST_BYTES = 1 << 20
"""Of a text."""
_CHEAP = 4 * ONE_PACKET

_JOBS = (
    "attn_norm",
    "the input of attn_q",
    "attn_q",
    "attn_k",
    "attn_v",
    "the query",
    "the key",
    "the query and the positions so far",
    "the input of attn_output",
    "attn_output",
    "the stream",
    "ffn_norm",
    "the input of ffn_gate",
    "ffn_gate",
    "ffn_up",
    "gate and up",
    "the input of ffn_down",
    "ffn_down",
    "the stream",
)
"""What each kernel of a layer works on, in their order (firmware/llama/network.c)."""


@dataclass(frozen=True)
class Speed:
    """Tokens of the last answer, its text's too, in which the matrix product had one tier from begin to end."""

    tier: str
    """"O0" to "O3", or "host"."""
    tokens: int
    cycles: int
    tokens_per_second: float | None
    """None: the guest has not measured its clock."""


@dataclass(frozen=True)
class Inference:
    """A model at work."""

    model: str
    address: Address
    bytes: int
    layers: int
    dim: int
    vocabulary: int
    state: str
    """"waiting", "reading" (the question's text), "answering"."""
    end: str
    """Why the last answer ended: "full", "stopped", "no_room", "interrupted", "bad_text"; "none" = it has not."""
    answers: int
    position: int
    """Tokens whose keys and values are all there."""
    positions: int
    """That there is room for."""
    kv_used: int
    """Bytes."""
    kv_bytes: int
    layer: int | None
    """That is computed at this moment."""
    kernel: str
    """The same; "" = none."""
    doing: str
    """What the kernel works on, as words: "attn_q"."""
    text_tokens: tuple[int, ...]
    answer_tokens: tuple[int, ...]
    wanted: int
    text: str | None
    """None: not read."""
    answer: str | None
    logits_crc: Word
    """Of all logits that a token was taken from."""
    temperature: float
    """0 = the likeliest token, always."""
    top_p: float
    seed: int
    tokens_per_second: float | None
    """Of all tiers."""
    speeds: tuple[Speed, ...]
    problems: tuple[str, ...]


@dataclass(frozen=True)
class NoInference:
    """None at work."""

    why: str
    model: None = None


def inference_record(memory: Memory) -> Any:
    """The structure `bf_inference`. Raises BadData when no model computes in this guest."""
    record = model_record(memory)
    if not record.inference:
        raise BadData(
            "no language model computes in this guest (yet); `serial` tells what it says of one, `make llama` starts "
            "a guest that answers"
        )
    raw = one(memory, "bf_inference", record.inference, "inference record")
    if raw.magic != layouts.const("BF_INFERENCE_MAGIC"):
        raise BadData(f"the inference record at 0x{record.inference:08x} was overwritten: its first word is no BINF")
    return raw


def model_record(memory: Memory) -> Any:
    """The structure `bf_model_record`. Raises BadData when this kernel has none."""
    try:
        record = one(memory, "bf_model_record", layouts.const("BF_MODEL_RECORD_ADDRESS"), "model record")
    except ReadError as error:
        raise BadData(f"there is no model in the guest ({error}); `make llama` starts one that answers") from error
    if record.magic != layouts.const("BF_MODEL_RECORD_MAGIC"):
        raise BadData("this kernel knows of no language model; `make llama` starts one that does")
    return record


def read_inference(memory: Memory, root: Root) -> Inference | NoInference:
    """Raises ReadError when the records are not in this memory."""
    if not root.tells(5):
        why = f"this kernel's debug interface, {root.abi}, tells nothing of a model at work; build one with 1.5"
        return NoInference(why)
    try:
        raw, weights = inference_record(memory), read_weights(memory)
    except BadData as error:
        return NoInference(str(error))
    problems: list[str] = []
    ids = read_ids(memory, raw, problems)
    count = min(raw.text_count, len(ids))
    text, answer = ids[:count], ids[count:]
    said = _texts(memory, weights, (text, answer), problems)
    counters = optional(lambda: read_counters(memory, root), problems)
    hz = counters.tsc_hz if counters is not None else 0
    speeds = tuple(_speeds(raw, hz))
    tokens, cycles = sum(speed.tokens for speed in speeds), sum(speed.cycles for speed in speeds)
    if not raw.position <= raw.positions <= _MOST_POSITIONS:
        problems.append(f"position {raw.position:,} of {raw.positions:,} is none: was the record overwritten?")
    each = 2 * weights.layers * weights.kv_dim * 4
    layer = raw.layer if raw.layer < weights.layers else None
    one_unit = layouts.const("BF_SAMPLE_ONE")
    return Inference(
        model=weights.name,
        address=weights.address,
        bytes=weights.size,
        layers=weights.layers,
        dim=weights.dim,
        vocabulary=weights.vocabulary,
        state=word("bf_inference_state", raw.state),
        end=word("bf_answer_end", raw.end),
        answers=raw.answers,
        position=raw.position,
        positions=raw.positions,
        kv_used=each * raw.position,
        kv_bytes=each * raw.positions,
        layer=layer,
        kernel=_kernel(memory, root, raw.kernel),
        doing=job_name(raw.job) if layer is not None else "",
        text_tokens=tuple(text),
        answer_tokens=tuple(answer),
        wanted=raw.wanted,
        text=said[0],
        answer=said[1],
        logits_crc=Word(raw.logits_crc),
        temperature=round(raw.temperature / one_unit, 4),
        top_p=round(raw.top_p / one_unit, 4),
        seed=raw.seed,
        tokens_per_second=_rate(tokens, cycles, hz),
        speeds=speeds,
        problems=tuple(problems),
    )


def read_ids(memory: Memory, raw: Any, problems: list[str]) -> list[int]:
    """The tokens of the text and of the answer so far."""
    count = raw.text_count + raw.count
    if count > MOST_TOKENS:
        problems.append(f"the guest claims {count:,} tokens: the first {MOST_TOKENS:,} are shown")
        count = MOST_TOKENS
    if not count:
        return []
    data = optional(lambda: memory.read(raw.ids, 4 * count, "tokens"), problems) or b""
    return [int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4)]


def job_name(job: int) -> str:
    """What a kernel of a layer works on, by how many kernels were before it: "attn_q"; "" = it is none."""
    return _JOBS[job] if job < len(_JOBS) else ""


def _kernel(memory: Memory, root: Root, index: int) -> str:
    if index >= layouts.const("BF_MAX_FUNCTIONS"):
        return ""
    functions = function_table(memory, root)
    return functions[index].name if index < len(functions) else ""


def _speeds(raw: Any, hz: int) -> list[Speed]:
    names = (*TIERS, "host")
    return [
        Speed(name, one.tokens, one.cycles, _rate(one.tokens, one.cycles, hz))
        for name, one in zip(names, raw.speed, strict=True)
        if one.tokens
    ]


def _rate(tokens: int, cycles: int, hz: int) -> float | None:
    return round(tokens * hz / cycles, 2) if cycles and hz else None


def _texts(
    memory: Memory, weights: Weights, texts: tuple[list[int], list[int]], problems: list[str]
) -> list[str | None]:
    """What the tokens are as text; None where that is not known."""
    words = optional(lambda: _words(memory, weights), problems)
    return [None, None] if words is None else [words(ids) for ids in texts]


def token_words(memory: Memory) -> Callable[[Sequence[int]], str]:
    """What makes a text of tokens. Raises BadData when the model in memory has none, ReadError."""
    words = _words(memory, read_weights(memory))
    if words is None:
        raise BadData("the model in memory has no tokens that are text")
    return words


def _words(memory: Memory, weights: Weights) -> Callable[[Sequence[int]], str] | None:
    ends, text, types = (weights.find(kind) for kind in ("TOKEN_ENDS", "TOKEN_TEXT", "TOKEN_TYPES"))
    count = weights.vocabulary
    if ends is None or text is None or types is None or ends.bytes != 4 * count or types.bytes != count:
        return None
    if memory.packets and ends.bytes + text.bytes + types.bytes > _CHEAP:
        raise BadData("the tokens' texts cost many packets; `bareflow inference` in a shell reads a machine's RAM")
    tables = [memory.read(part.address, part.bytes, f"model's {part.name}") for part in (ends, text, types)]
    return lambda ids: _said(ids, *tables)


def _said(ids: Sequence[int], ends: bytes, text: bytes, types: bytes) -> str:
    special = layouts.const("BF_MODEL_TOKEN_SPECIAL")
    found: list[bytes] = []
    room = _MOST_BYTES
    for token in ids:
        if token >= len(types) or types[token] == special:
            continue
        begin = int.from_bytes(ends[4 * token - 4 : 4 * token], "little") if token else 0
        found.append(text[begin : int.from_bytes(ends[4 * token : 4 * token + 4], "little")])
        room -= len(found[-1])
        if room < 0:
            break
    return lines(b"".join(found)[:_MOST_BYTES].decode("utf-8", "replace"))
