"""How does a function's bitcode become one that counts its arguments, or one that is made for some of them?

Both are LLVM text: the function itself becomes an inner one, and a new entry stands before it. One entry counts with
what it is called; the other one has a guard, behind which the inner function is inlined with constants for arguments.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from bareflow_gdb.errors import BadData
from bareflow_gdb.guest.base.exports import GuestSymbol
from bareflow_gdb.memory.protocol import Memory
from bareflow_gdb.pgo.arguments import PAIRS, Arguments, Constants
from bareflow_gdb.pgo.flags import FLAGS
from bareflow_gdb.recompile.objects import COUNTERS
from bareflow_gdb.recompile.source import run_clang
from bareflow_gdb.recompile.wrapped import Wrapped

_SLOT = struct.Struct("<iiQ")
_TABLE = "bf_counters_arguments"
_INNER = "bf_inner"
_DEFINITION = r"^define (?P<before>[^@\n]*)@{entry}\((?P<parameters>[^\n]*)\)(?P<after>[^\n{{)]*)\{{$"
# An internal function has none of these.
_OUTSIDE = re.compile(r"\b(?:dso_local|dso_preemptable|hidden|protected|default|unnamed_addr|local_unnamed_addr)\b ?")
_ATTRIBUTES = re.compile(r"#\d+\b")
_QUOTED = re.compile(r'("(?:[^"\\]|\\.)*")')

_COUNTING = """
@{table} = global [{slots} x {{ i32, i32, i64 }}] zeroinitializer{placed}, align 8

define i32 @{entry}(i32 %a, i32 %b) {attributes} {{
enter:
  br label %look
look:
  %at = phi i32 [ 0, %enter ], [ %next, %other ]
  %slot = getelementptr [{slots} x {{ i32, i32, i64 }}], ptr @{table}, i32 0, i32 %at
  %slot.b = getelementptr {{ i32, i32, i64 }}, ptr %slot, i32 0, i32 1
  %slot.calls = getelementptr {{ i32, i32, i64 }}, ptr %slot, i32 0, i32 2
  %calls = load i64, ptr %slot.calls
  %free = icmp eq i64 %calls, 0
  %last = icmp eq i32 %at, {pairs}
  %ends = or i1 %free, %last
  br i1 %ends, label %take, label %compare
compare:
  %was.a = load i32, ptr %slot
  %was.b = load i32, ptr %slot.b
  %same.a = icmp eq i32 %was.a, %a
  %same.b = icmp eq i32 %was.b, %b
  %same = and i1 %same.a, %same.b
  br i1 %same, label %take, label %other
other:
  %next = add i32 %at, 1
  br label %look
take:
  store i32 %a, ptr %slot
  store i32 %b, ptr %slot.b
  %more = add i64 %calls, 1
  store i64 %more, ptr %slot.calls
  %result = call i32 @{inner}(i32 %a, i32 %b)
  ret i32 %result
}}
"""

_GUARDED = """
define i32 @{entry}(i32 %a, i32 %b) {attributes} {{
  %is.a = icmp eq i32 %a, {a}
  %is.b = icmp eq i32 %b, {b}
  %is = and i1 %is.a, %is.b
  br i1 %is, label %special, label %general
special:
  %fast = call i32 @{inner}(i32 {a}, i32 {b}) alwaysinline
  ret i32 %fast
general:
  %usual = call i32 @{inner}(i32 %a, i32 %b) noinline
  ret i32 %usual
}}
"""


def counting(bitcode: Wrapped) -> bytes:
    """Bitcode that does the same and counts the pairs of its arguments. Raises DoesNotCompile, BadData."""
    return _changed(bitcode, lambda text: counting_text(text, bitcode.entry, COUNTERS))


def counting_text(text: str, entry: str, section: str = "") -> str:
    """The same of LLVM's text. `section`: where the counts are; "" = with the writable data. Raises BadData."""
    placed = f', section "{section}"' if section else ""
    return _behind(text, entry, _COUNTING, table=_TABLE, slots=PAIRS + 1, pairs=PAIRS, placed=placed)


def guarded(bitcode: Wrapped, made_for: Constants) -> bytes:
    """Bitcode that does the same, faster for these arguments. Raises DoesNotCompile, BadData."""
    a, b = (name if value is None else str(value) for name, value in (("%a", made_for.a), ("%b", made_for.b)))
    return _changed(bitcode, lambda text: _behind(text, bitcode.entry, _GUARDED, a=a, b=b))


def read_arguments(memory: Memory, symbols: Mapping[str, GuestSymbol], name: str) -> Arguments:
    """What a version that counts has counted until now. Raises BadData, ReadError."""
    table = symbols.get(_TABLE)
    if table is None or table.size != (PAIRS + 1) * _SLOT.size:
        raise BadData(f"the version of {name} that was to count its arguments has no place for that; ask again")
    slots = list(_SLOT.iter_unpack(memory.read(table.address, table.size, f"arguments of {name}")))
    calls = Counter[tuple[int, int]]()
    for a, b, count in slots[:PAIRS]:
        if count:
            calls[a, b] += count
    return Arguments(calls, slots[PAIRS][2])


def _changed(bitcode: Wrapped, change: Callable[[str], str]) -> bytes:
    """The bitcode, its text changed."""
    with TemporaryDirectory(prefix="bfa-") as folder:
        path = Path(folder) / f"{bitcode.entry}.bc"
        path.write_bytes(bitcode.payload)
        as_it_is = [*FLAGS, "-Xclang", "-disable-llvm-passes", "-emit-llvm"]
        text = run_clang(path, [*as_it_is, "-S"])[0].decode("utf-8", "replace")
        changed = path.with_suffix(".ll")
        changed.write_text(change(text), encoding="utf-8")
        return run_clang(changed, [*as_it_is, "-c"])[0]


def _behind(text: str, entry: str, template: str, **words: object) -> str:
    """The text with its function behind a new entry."""
    head = re.search(_DEFINITION.format(entry=re.escape(entry)), text, re.MULTILINE)
    inner = f"{_INNER}_{entry}"
    if head is None or f"@{inner}" in text:
        raise BadData(f"the bitcode does not define {entry} in a way that is known here; compile it with clang 19")
    attributes = " ".join(_ATTRIBUTES.findall(head["after"]))
    before, after = (_OUTSIDE.sub("", head[part]) for part in ("before", "after"))
    hidden = f"define internal {before}@{entry}({head['parameters']}){after}{{"
    text = text[: head.start()] + hidden + text[head.end() :]
    # A name in quotes is one of the source, for debuggers.
    parts = _QUOTED.split(text)
    parts[::2] = [re.sub(rf"@{re.escape(entry)}(?![\w.$-])", f"@{inner}", part) for part in parts[::2]]
    return "".join(parts) + template.format(entry=entry, inner=inner, attributes=attributes, **words)
