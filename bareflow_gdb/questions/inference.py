"""What is a language model in the guest at?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.questions.question import ROOT, Context, Options, Question, argument
from bareflow_gdb.render.view import View, address, facts, known, number, spoken, table

if TYPE_CHECKING:
    from bareflow_gdb.guest.model.inference import Inference, NoInference
    from bareflow_gdb.guest.model.tensors import Tensor

_STATES = {"waiting": "waits for a question", "reading": "reads the question", "answering": "answers"}
_ENDS = {
    "full": "as many tokens as were wanted",
    "stopped": "the model's own end of the text",
    "no_room": "no position left",
    "interrupted": "interrupted by who asked",
    "bad_text": "the text is empty, too long, or has a byte that the model does not know",
}


@dataclass(frozen=True)
class Named:
    """A tensor of the list."""

    name: str
    what: str
    type: str
    rows: int
    columns: int
    address: Address
    bytes: int


@dataclass(frozen=True)
class Tensors:
    """All tensors."""

    tensors: tuple[Named, ...]


def _ask(context: Context, options: Options) -> Inference | NoInference | Tensors:
    if not options.tensors:
        return context.kernel.inference()
    return Tensors(tuple(map(_named, context.kernel.tensors().values())))


def _named(tensor: Tensor) -> Named:
    return Named(**{name: getattr(tensor, name) for name in Named.__dataclass_fields__})


def _view(record: Inference | NoInference | Tensors) -> View:
    """Where it is, what was said, how fast."""
    from bareflow_gdb.guest.model.inference import NoInference

    if isinstance(record, NoInference):
        return View("Inference", notes=(record.why,))
    if isinstance(record, Tensors):
        listed = [
            (one.name, one.what, one.type, f"{one.rows:,} x {one.columns:,}", address(one.address), one.bytes)
            for one in record.tensors
        ]
        return View("Tensors", (), (table("tensor|kept as|type|>shape|address|>bytes", listed),))
    state = _STATES.get(record.state, record.state)
    end = "" if record.end == "none" else f"; the last answer ended: {_ENDS.get(record.end, spoken(record.end))}"
    head = facts(
        ("model", f"{record.model or 'no name'}, {record.layers} layers of {record.dim}, {record.bytes:,} bytes"),
        ("state", f"{state}{end}"),
        ("position", f"{record.position:,} of {record.positions:,}"),
        ("KV cache", f"{record.kv_used:,} of {record.kv_bytes:,} bytes"),
    )
    head += known(("computes", _now(record)))
    head += facts(
        (
            "tokens",
            f"{len(record.text_tokens):,} of the question, {len(record.answer_tokens):,} of the answer, at most "
            f"{record.wanted:,}",
        ),
        ("drawn by", _drawn(record)),
        ("logits CRC", f"0x{record.logits_crc:08x}"),
    )
    head += known(("tokens/s", None if record.tokens_per_second is None else number(record.tokens_per_second)))
    rows = [(_tier(speed.tier), speed.tokens, number(speed.tokens_per_second)) for speed in record.speeds]
    parts = [table("matmul at|>tokens|>tokens/s", rows)] if rows else []
    texts = [("question", record.text), ("answer", record.answer)]
    said = [f"{label}\n{text}" for label, text in texts if text]
    return View("Inference", head, (*parts, *said), record.problems)


def _now(record: Inference) -> str | None:
    where = "outside of the layers" if record.layer is None else f"layer {record.layer}"
    if not record.kernel:
        return None if record.layer is None else where
    return f"{where}, {record.kernel}{f' of {record.doing}' if record.doing else ''}"


def _drawn(record: Inference) -> str:
    if not record.temperature:
        return "the likeliest"
    return f"temperature {record.temperature:g}, top-p {record.top_p:g}, seed {record.seed}"


def _tier(name: str) -> str:
    return "the host's code" if name == "host" else name


QUESTION = Question(
    name="inference",
    help="a language model in the guest: position, layer and kernel of this moment, text, tokens/s, KV cache",
    details="`--tensors` lists what `tensor` shows.",
    example="inference",
    arguments=(argument("--tensors", action="store_true", help="the names, shapes and addresses of all tensors"),),
    needs=(ROOT,),
    ask=_ask,
    view=_view,
    verdict=lambda record: getattr(record, "why", None) is None,
    no="no model is at work",
)
