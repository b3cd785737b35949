"""Trace directories: manifest, journals, Parquet, code, memory, and files of names that nobody made."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from bareflow_gdb.analysis.exports.formats import FORMATS
from bareflow_gdb.questions import registry
from bareflow_gdb.tracing.segments import SCHEMA
from fuzz import mutate
from fuzz.questions import words_of
from fuzz.target import Target, copy_tree
from fuzz.verbs import run_verb

_QUERIES = (
    "select 1 as a, 2 as a",
    "select * from functions, modules",
    "select count(*) from events",
    "select type, count(*) n, min(tsc), max(tsc) from events group by type order by n",
    "select e.*, t.* from events e join types t on e.type = t.number limit 5",
    "select chr(27) || '[31m' as x",
    "select [1,2] as l, {'a': 1} as s, blob '\\x1b' as b, 1.5::decimal(4,2) as d, null as n",
    "select struct_pack(a := 1, b := 'x') as s, interval 1 day as i, 'nan'::double as f, now() as t",
    "select 1 where false",
    "create table x (a int)",
    "select * from 'no.parquet'",
    "select",
)
_NAMES = (
    "journal-xyz.raw",
    "journal-.raw",
    "journal--1.raw",
    "journal-0000000000000000000000000000009.raw",
    "journal-\u0663.raw",
    "journal-1\x1b[31m.raw",
    "events-xyz.parquet",
    "events-000 (copy).parquet",
    "memory/x",
    ".events.partial",
)


class Trace(Target):
    name, share, round = "trace directory", 10, 12
    seed: ClassVar[str] = "trace"

    def prepare(self) -> None:
        self._trace = self.folder / "t"
        shutil.copytree(self.seeds / self.seed, self._trace)
        (self.folder / "out").mkdir()
        self._files = sorted(str(p.relative_to(self._trace)) for p in self._trace.rglob("*") if p.is_file())

    def inputs(self, chance: Random) -> Iterator[str]:
        touched = [self._damage(chance) for _ in range(chance.choice((1, 1, 1, 2, 3)))]
        yield from ("trace show TRACE", "trace show --json TRACE", "swaps TRACE", "report TRACE --out OUT/r.html")
        yield f"trace convert TRACE --to {chance.choice(list(FORMATS))} --out OUT/made"
        yield chance.choice(("trace verify TRACE", "trace diff TRACE TRACE", "trace pack TRACE --out OUT/t.tar.gz"))
        yield chance.choice(("events TRACE", "events --last 3 --json TRACE", "events --type publish TRACE"))
        for query in chance.sample(_QUERIES, 2):
            yield f"events TRACE{chance.choice((' --json', ''))} --sql {query}"
        for name in chance.sample(registry.names(), 3):
            yield " ".join(word.replace(" ", "") for word in words_of(chance, name)) + " TRACE"
        yield "trace recover TRACE"
        for name in touched:
            self._mend(name)

    def _damage(self, chance: Random) -> str:
        """Changes one file; its name."""
        kind = chance.random()
        if kind < 0.08:
            name = chance.choice(_NAMES)
            self._write(name, chance.choice((b"", b"BCFJ", chance.randbytes(100))))
            return name
        likely = ("manifest.json", "memory/index.json", "code/index.json", "symbols.json")
        segments = [name for name in self._files if name.endswith((".parquet", ".raw"))]
        groups = ((0.5, likely), (0.8, segments), (1.0, self._files))
        roll = chance.random()
        wanted = [item for item in next(group for most, group in groups if roll < most) if self._has(item)]
        name = chance.choice(wanted or [item for item in self._files if self._has(item)])
        good = (self.seeds / self.seed / name).read_bytes()
        path = self._trace / name
        if kind < 0.12:
            path.unlink(missing_ok=True)
            if chance.random() < 0.5:
                path.mkdir()
            elif chance.random() < 0.3:
                os.mkfifo(path)
        elif name.endswith(".json"):
            self._write(name, mutate.json_text(chance, good))
        elif name.endswith(".parquet") and kind < 0.7:
            self._segment(chance, path)
        else:
            self._write(name, mutate.blob(chance, good))
        return name

    def _has(self, name: str) -> bool:
        return name in self._files and (self._trace / name).is_file()

    def _write(self, name: str, data: bytes) -> None:
        path = self._trace / name
        path.unlink(missing_ok=True)
        path.write_bytes(data)

    def _segment(self, chance: Random, path: Path) -> None:
        """A well-formed Parquet file with columns that no recorder writes."""
        table = pq.ParquetFile(self.seeds / self.seed / path.name).read()
        for _ in range(chance.randint(1, 2)):
            table = chance.choice(_TABLES)(chance, table)
        pq.write_table(table, path)

    def _mend(self, name: str) -> None:
        path, good = self._trace / name, self.seeds / self.seed / name
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        if good.is_file():
            shutil.copyfile(good, path)

    def ask(self, folder: Path, words: str) -> str:
        head, _, query = words.partition(" --sql ")
        with tempfile.TemporaryDirectory(dir=folder / "out") as out:
            trace = folder / "t"
            if "recover" in head:
                # It changes the trace; the next question is about the damaged one.
                trace = copy_tree(trace, Path(out) / "t")
            given = [word.replace("TRACE", str(trace)).replace("OUT", out) for word in head.split()]
            return run_verb(given + (["--sql", query] if query else []))


class KilledTrace(Trace):
    name, share, seed = "trace of a killed recorder", 9, "killed"


def _nulls(chance: Random, table: Any) -> Any:
    at = chance.randrange(table.num_columns)
    values = table.column(at).to_pylist()
    for index in range(0, len(values), chance.choice((1, 7, 1000))):
        values[index] = None
    field = table.schema.field(at).with_nullable(True)
    return table.set_column(at, field, pa.array(values, field.type))


def _numbers(chance: Random, table: Any) -> Any:
    at = chance.randrange(table.num_columns)
    kind = table.schema.field(at).type
    most = (1 << getattr(kind, "bit_width", 8)) - 1 if pa.types.is_integer(kind) else 0
    values = [chance.choice((0, 1, most, most // 2)) for _ in range(table.num_rows)]
    return table.set_column(at, table.schema.field(at), pa.array(values, kind)) if most else table


def _types(chance: Random, table: Any) -> Any:
    at = chance.randrange(table.num_columns)
    kind = chance.choice((pa.float64(), pa.string(), pa.int64(), pa.list_(pa.int8()), pa.binary()))
    return table.set_column(at, table.schema.names[at], pa.nulls(table.num_rows, kind))


def _twice(chance: Random, table: Any) -> Any:
    at = chance.randrange(table.num_columns)
    return table.append_column(table.schema.field(at), table.column(at))


def _named(chance: Random, table: Any) -> Any:
    names = list(table.schema.names)
    names[chance.randrange(len(names))] = chance.choice(("x\x1b[31m", "tsc", "", "\u202e", 'a"b'))
    return table.rename_columns(names)


def _rows(chance: Random, table: Any) -> Any:
    return table.slice(0, chance.choice((0, 1, 2))) if chance.random() < 0.5 else pa.concat_tables([table, table])


def _nullable(chance: Random, table: Any) -> Any:
    schema = pa.schema([field.with_nullable(chance.random() < 0.5) for field in SCHEMA])
    ours = table.schema.names == SCHEMA.names and table.schema.types == SCHEMA.types
    return table.cast(schema) if ours and not any(column.null_count for column in table.columns) else table


_TABLES: tuple[Callable[[Random, Any], Any], ...] = (_nulls, _nulls, _numbers, _types, _twice, _named, _rows, _nullable)
