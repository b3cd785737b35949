"""How is a guest's model compared with the reference shown? A row for each layer, then what differs first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bareflow_gdb.render.view import Cell, Value, View, facts, known, table

if TYPE_CHECKING:
    from bareflow_gdb.model.comparing import Comparison, Step

_COLUMNS = ("rope_k", "attn_v", "attn_add", "ffn_add")
_WHERE = {
    "rope_k": "its key, from attn_norm and attn_k",
    "attn_v": "its value, from attn_norm and attn_v",
    "attn_add": "behind its attention: attn_q, the positions so far, attn_output",
    "ffn_add": "behind its feed: ffn_norm, ffn_gate, ffn_up, ffn_down",
    "token_embd": "the token's row of the embedding",
    "logits": "output_norm and the output's matrix",
}


def view(record: Comparison) -> View:
    """Each layer of the last token; the first difference in words."""
    head = facts(
        ("model", f"{record.model or 'no name'}, {record.layers} layers"),
        ("reference", record.reference),
        ("tokens", f"{record.position:,}"),
    )
    head += known(("differs first", _first(record.first)), ("keys and values", _cache(record)))
    head += facts(("weights in memory", _weights(record)))
    by_name = {step.name: step for step in record.steps}
    rows: list[tuple[Value | None, ...]] = [
        (str(layer), *(_cell(by_name.get(f"blk.{layer}.{column}")) for column in _COLUMNS))
        for layer in range(record.layers)
    ]
    rows.insert(0, ("embedded", None, None, None, _cell(by_name.get("token_embd"))))
    rows.append(("logits", None, None, None, _cell(by_name.get("logits"))))
    columns = "layer|key|value|behind attention|behind feed"
    notes = () if record.first else ("every activation has the reference's bits",)
    return View("Compared with the reference", head, (table(columns, rows),), (), notes)


def _first(step: Step | None) -> Cell | None:
    if step is None:
        return None
    of = f"layer {step.layer}: " if step.layer is not None else ""
    where = _WHERE.get(step.name.rpartition(".")[2], "")
    by = f", by at most {step.largest:.3g}" if step.largest is not None else ""
    return Cell(f"{of}{step.name}, {step.differ:,} of {step.values:,} values{by} ({where})", "bad")


def _cache(record: Comparison) -> str | Cell:
    if not record.cache_compared:
        return "not compared (--last)"
    step = record.cache_first
    if step is None:
        return "of all tokens the reference's"
    return Cell(f"the reference's up to position {step.position:,}, where {step.name} differs", "bad")


def _weights(record: Comparison) -> str | Cell:
    if not record.weights_compared:
        return "not compared"
    if not record.damaged:
        return "every CRC right"
    return Cell(f"not as they were packed: {', '.join(record.damaged)}", "bad")


def _cell(step: Step | None) -> Cell:
    if step is None:
        return Cell("-", "dim")
    if not step.differ:
        return Cell("=", "good")
    return Cell(f"{step.differ:,} of {step.values:,} differ", "bad")
