"""How is it shown what became of a request to recompile a function?"""

from __future__ import annotations

from dataclasses import asdict

from bareflow_gdb import foreign
from bareflow_gdb.guest.base.values import code_name
from bareflow_gdb.guest.code.outcome import Outcome, Specialised, Verification
from bareflow_gdb.guest.code.remarks import NO_VECTORS, Making, parse, summary
from bareflow_gdb.render.disas import PASSES
from bareflow_gdb.render.view import spoken


def outcome(record: Outcome, *, remarks: bool = False) -> str:
    """A line for a rejection; for an installed version its code, its first call and the time it took."""
    if not record.installed:
        why = spoken(record.reason)
        kept = f"; work files: {', '.join(record.kept)}" if record.kept else ""
        return f"{code_name(record.function, record.level)} {record.state} ({why}): {record.message}{kept}"
    head = f"{code_name(record.function, record.level, record.version)} installed, "
    head += f"{record.code_size:,} bytes at 0x{record.code:08x}"
    if record.rodata_size:
        head += f", {record.rodata_size:,} read-only at 0x{record.rodata:08x}"
    lines = [head]
    if record.replaced:
        undo = f"`swap rollback {record.function}` takes it back"
        lines.append(f"  in place of 0x{record.replaced:08x}, by one store to the code pointer; {undo}")
    if record.result is not None:
        verdict = "as expected" if record.correct else f"expected {record.expected:,}"
        lines.append(f"  first call  {record.result:,} ({verdict})")
    if record.verification is not None:
        lines.append(f"  {_verified(record.verification)}")
    if record.specialised is not None:
        lines.append(f"  {_specialised(record.specialised)}")
    spent = {phase: f"{ms:,.1f}" for phase, ms in asdict(record.milliseconds).items() if ms is not None}
    total = f"; {spent.pop('total')} ms in all" if "total" in spent else ""
    parts = ", ".join(f"{phase} {ms}" for phase, ms in spent.items()).replace("first_execution", "first call")
    if record.from_cache:
        parts = parts.replace("compile ", "from the cache ")
    lines.append(f"  ms          {parts}{total}")
    lines += [f"  note        {note}" for note in record.notes]
    if record.symbol_file is not None:
        lines.append(f"  symbols     {record.symbol_file}")
    making = Making(parse(record.remarks), record.passes)
    if making.remarks or making.passes:
        lines.append(f"  remarks     {summary(making)}")
    if record.kept:
        lines.append(f"  kept        {', '.join(record.kept)}")
    if remarks:
        lines += [f"  {remark}" for remark in record.remarks] or ["  no remarks"]
        lines.append(f"  {NO_VECTORS}")
        lines += [f"  pass        {name} {spent:,.1f} ms" for name, spent in record.passes[:PASSES] if spent]
    # What LLVM remarks upon has names of the bitcode.
    return foreign.lines("\n".join(lines))


def _specialised(record: Specialised) -> str:
    values = [f"{name} = {value:,}" for name, value in (("a", record.a), ("b", record.b)) if value is not None]
    made_for = f"made for    {' and '.join(values)}, {record.share:.0%} of {record.calls:,} calls"
    cycles = [f"{side:,.0f}" for side in (record.before, record.after) if side is not None]
    measured = f"{' -> '.join(cycles)} cycles a call" if len(cycles) == 2 else "not measured"
    verdict = f"{record.verdict} ({record.why})" if record.why and not record.kept else record.verdict
    taken_back = "" if record.kept else "; taken back, the version before runs again"
    return f"{made_for}: {measured}, {verdict}{taken_back}"


def _verified(record: Verification) -> str:
    if record.state == "not verified":
        return f"not verified: {record.reason}"
    seen = f", {record.seen} of them seen in its calls" if record.seen else ""
    seen += ", its x87 code on the host's own CPU" if record.native else ""
    cost = f"({record.milliseconds:,.1f} ms)" if record.milliseconds is not None else ""
    if record.state == "differs":
        return f"differs     from {record.against}, as edited source may: {record.reason} {cost}"
    but = f"; {record.reason}" if record.reason else ""
    return f"verified    as {record.against} with {record.inputs} inputs{seen} {cost}{but}"
