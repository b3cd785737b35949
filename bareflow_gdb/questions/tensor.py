"""Which values are in a tensor of a language model in the guest?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bareflow_gdb.errors import UsageError
from bareflow_gdb.questions.question import ROOT, TENSORS, Context, Options, Question, argument
from bareflow_gdb.render.view import View, known, table

if TYPE_CHECKING:
    from bareflow_gdb.guest.model.tensors import TensorReport

LIMIT = 64
_A_LINE = 8


def _ask(context: Context, options: Options) -> TensorReport:
    limit = LIMIT if options.limit is None else options.limit
    if limit < 1:
        raise UsageError(f"--limit {limit}: at least 1 value is shown")
    say = context.guest.places.progress
    return context.kernel.tensor(options.name, options.row, limit, options.all, say)


def _view(record: TensorReport) -> View:
    """Facts, statistics, a corner or a row."""
    stats = record.statistics
    of_rows = "" if stats.rows == record.rows else f", of {stats.rows:,} of {record.rows:,} rows"
    head = known(
        ("kept as", record.what),
        ("type", record.type),
        ("shape", f"{record.rows:,} x {record.columns:,}"),
        ("address", f"0x{record.address:08x}, {record.bytes:,} bytes"),
        ("of position", None if record.position is None else f"{record.position:,}"),
        ("values", f"{stats.count:,}{of_rows}; {stats.nan:,} NaN, {stats.infinite:,} infinite"),
        ("least", _short(stats.minimum)),
        ("largest", _short(stats.maximum)),
        ("mean", _short(stats.mean)),
        ("rms", _short(stats.rms)),
    )
    notes = () if not of_rows else ("statistics of some rows; --all looks at every one",)
    if len(record.shown) == 1 and len(record.shown[0].values) > _A_LINE:
        row = record.shown[0]
        rows = [
            (at, *(_short(value) for value in row.values[at : at + _A_LINE]))
            for at in range(0, len(row.values), _A_LINE)
        ]
        columns = ">column" + "".join(f"|>+{at}" for at in range(_A_LINE))
        whole = [(*one, *("",) * (_A_LINE + 1 - len(one))) for one in rows]
        return View(record.name, head, (table(columns, whole, f"row {row.row:,}"),), (), notes)
    columns = ">row" + "".join(f"|>{at}" for at in range(len(record.shown[0].values) if record.shown else 0))
    corner = [(f"{row.row:,}", *(_short(value) for value in row.values)) for row in record.shown]
    return View(record.name, head, (table(columns, corner),), (), notes)


def _short(value: float | None) -> str | None:
    return None if value is None else f"{value:.5g}"


QUESTION = Question(
    name="tensor",
    help="a tensor of a language model in the guest: type, shape, address, values, statistics",
    details="Weights (blk.0.attn_q.weight), keys and values (blk.0.keys), activations (logits, gate) and the stream "
    "that the guest keeps of the last token (blk.0.attn_add, blk.0.ffn_add). Packed weights are shown as the numbers "
    "that they stand for. `inference --tensors` lists all.",
    example="tensor blk.0.attn_q.weight",
    arguments=(
        argument("name", metavar="NAME", names=TENSORS, help="the tensor; .weight may be left out"),
        argument("--row", type=int, metavar="N", help="this row's values (default: the first rows and columns)"),
        argument("--limit", type=int, metavar="N", help=f"of a row, so many values (default {LIMIT})"),
        argument("--all", action="store_true", help="statistics of every row, also where that takes long"),
    ),
    needs=(ROOT,),
    ask=_ask,
    view=_view,
)
