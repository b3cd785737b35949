"""Which functions does the adaptive JIT know, and which versions of their code exist?

Read budget: the function table 1 to 2 packets (96 bytes each), the version table 3, the causes 1 to 2. Where
reads cost packets, a table that is longer than that is read where it matters: at the newest versions, and where
most of the published ones are. `every` reads all of it, up to 23 packets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData
from bareflow_gdb.foreign import clean
from bareflow_gdb.guest.base.absent import need
from bareflow_gdb.guest.base.clock import Counters, read_counters
from bareflow_gdb.guest.base.reading import ONE_PACKET, bulk, capped, filled, many, one, optional
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.base.values import Address, Word, code_name, word, words
from bareflow_gdb.memory.protocol import Memory

NO_MODULE = 0xFFFFFFFF
CHEAP_PARTS = 3
"""Parts of the version table, of a packet each, that are read without a second thought."""


@dataclass(frozen=True)
class Function:
    """`struct bf_function`: one record of the function table."""

    index: int
    """Also the mailbox slot."""
    name: str
    arguments: tuple[int, int]
    expected: int
    last_result: int
    provider: str
    slot: Address
    """Where the published code pointer is kept."""
    bitcode: Address
    bitcode_size: int
    """Bytes of header and payload."""
    symbols: Address
    symbol_count: int
    profiler_id: int
    module: int | None
    """Index of its module."""
    version: int
    """Number of the published version."""
    level: int
    tsc_last_swap: int


@dataclass(frozen=True)
class Version:
    """`struct bf_version` and its cause: one version of one function's code."""

    number: int
    function: int
    """Index into the function table."""
    function_name: str
    level: int
    state: str
    reason: str
    provider: str
    code: Address
    code_size: int
    code_crc: Word
    rodata: Address
    rodata_size: int
    entry: Address
    tsc_published: int
    tsc_first: int
    """First execution, 0 = not yet."""
    tsc_retired: int
    same_as: int
    """Number of an older version with equal code bytes, 0 = none."""
    asked_at_call: int
    """Calls of the function when a threshold asked for this version, 0 = no threshold did."""
    tsc_asked: int
    """When it did."""
    features: tuple[str, ...] = ()
    """Vector instructions that its code has, as words of `enum bf_feature`."""

    @property
    def title(self) -> str:
        """`primes@O3 #24`."""
        return code_name(self.function_name, self.level, self.number)

    @property
    def rolled_back_to(self) -> bool:
        """It ran before it was published last."""
        return 0 < self.tsc_first < self.tsc_published

    @property
    def chosen(self) -> bool:
        """Somebody wanted it, whatever the thresholds say."""
        return self.rolled_back_to or self.reason in ("host_asked", "forced")

    def holds(self, address: int) -> bool:
        """Is the address inside this version's code?"""
        return self.code_size > 0 and self.code <= address < self.code + self.code_size


def version_at(versions: Iterable[Version], address: int) -> Version | None:
    """The version whose code is, or last was, at this address."""
    holding = [version for version in versions if version.holds(address)]
    alive = [version for version in holding if version.state != "freed"] or holding
    return max(alive, key=lambda version: version.number, default=None)


def function_table(memory: Memory, root: Root) -> list[Function]:
    """The functions, for who asks for nothing else; raises BareflowError."""
    return read_functions(memory, root, read_counters(memory, root), [])


def read_functions(memory: Memory, root: Root, counters: Counters, problems: list[str]) -> list[Function]:
    """The records in use, at most BF_MAX_FUNCTIONS; a cap is named in `problems`."""
    table = need(root, "function_table", "function table")
    count = capped(counters.function_count, layouts.const("BF_MAX_FUNCTIONS"), "functions", problems)
    raws = many(memory, "bf_function", table, count, "function table")
    return [
        filled(
            Function,
            raw,
            index=index,
            name=clean(raw.name),
            provider=word("bf_provider", raw.provider),
            module=None if raw.module == NO_MODULE else raw.module,
        )
        for index, raw in enumerate(raws)
    ]


def read_versions(
    memory: Memory,
    root: Root,
    counters: Counters,
    functions: Sequence[Function],
    problems: list[str],
    spans: Sequence[tuple[int, int]] | None = None,
    missing: list[str] | None = None,
) -> list[Version]:
    """The versions in the table by number; a table that has been reused is named in `problems`.

    spans: (first record, number) of the parts to read, None = all of it. Why there are no causes is added to
    `missing`. Raises BadData when the kernel has no version table, ReadError.
    """
    table = need(root, "version_table", "version table")
    capacity = layouts.const("BF_MAX_VERSIONS")
    if counters.version_count > capacity:
        problems.append(
            f"{counters.version_count:,} versions were begun, the table holds {capacity}: the oldest are gone"
        )
    if spans is None:
        spans = [(0, min(counters.version_count, capacity))]
    raws = _records(memory, "bf_version", table, spans, "version table")
    causes: Sequence[Any] | None = None
    if at := root.version_causes:
        told: list[str] = [] if missing is None else missing
        causes = optional(lambda: _records(memory, "bf_version_cause", at, spans, "version causes"), told)
    causes = causes or [None] * len(raws)
    none = layouts.const("BF_VERSION_NONE")
    found = [
        _version(raw, cause, functions)
        for raw, cause in zip(raws, causes, strict=True)
        if raw.number and raw.state != none
    ]
    return sorted(found, key=lambda version: version.number)


def find_version(memory: Memory, root: Root, number: int) -> Any | None:
    """The raw record of a version: numbers start at 1, records are reused when the table is full. Raises ReadError."""
    capacity, size = layouts.const("BF_MAX_VERSIONS"), layouts.size("bf_version")
    likely = root.version_table + (number - 1) % capacity * size
    record = one(memory, "bf_version", likely, "version record")
    if record.number == number:
        return record
    table = many(memory, "bf_version", root.version_table, capacity, "version table")
    return next((record for record in table if record.number == number), None)


def _spans(memory: Memory, counters: Counters, functions: Iterable[Function]) -> list[tuple[int, int]]:
    """The parts of the version table that are worth their packets."""
    capacity = layouts.const("BF_MAX_VERSIONS")
    count = min(counters.version_count, capacity)
    step = ONE_PACKET // layouts.size("bf_version")
    if not memory.packets or count <= CHEAP_PARTS * step:
        return [(0, count)]
    newest = (counters.version_count - 1) % capacity // step
    published = Counter((function.version - 1) % capacity // step for function in functions if function.version)
    others = [part for part, _ in published.most_common() if part != newest]
    parts = sorted({newest, *others[: CHEAP_PARTS - 2]})
    return [(part * step, min(step, count - part * step)) for part in parts]


def _records(memory: Memory, layout: str, table: int, spans: Iterable[tuple[int, int]], what: str) -> list[Any]:
    size = layouts.size(layout)
    pieces = [(table + first * size, count * size, what) for first, count in spans if count]
    return [raw for data in bulk(memory, pieces) for raw in layouts.unpack_array(layout, data)]


def _version(raw: Any, cause: Any, functions: Sequence[Function]) -> Version:
    known = raw.function < len(functions)
    return filled(
        Version,
        raw,
        function_name=functions[raw.function].name if known else f"function {raw.function}",
        state=word("bf_version_state", raw.state),
        reason=word("bf_reason", raw.reason),
        provider=word("bf_provider", raw.provider),
        asked_at_call=cause.calls if cause is not None else 0,
        tsc_asked=cause.tsc if cause is not None else 0,
        features=words("bf_feature", raw.features),
    )


@dataclass(frozen=True)
class Tables:
    """Counters, functions and versions: what most questions need together."""

    counters: Counters
    functions: list[Function]
    versions: list[Version]
    unread: int = 0
    """Records of the version table that were left out, because each packet of them takes a round trip."""
    missing: tuple[str, ...] = ()
    """Which of the other tables this memory does not have, and why."""

    @property
    def whole(self) -> bool:
        """Every version that the kernel keeps is here."""
        return not self.unread and not self.missing

    def needed(self) -> list[Version]:
        """The versions; raises BadData when their table is missing."""
        if self.missing and not self.versions:
            raise BadData(self.missing[0])
        return self.versions


def read_tables(memory: Memory, root: Root, problems: list[str], every: bool = False, causes: bool = True) -> Tables:
    """Raises BadData when the kernel has no functions, ReadError; other tables may be missing.

    Without `causes` it is left out why each version was made, which costs a packet of its own.
    """
    if not causes:
        root = replace(root, version_causes=Address(0))
    counters = read_counters(memory, root)
    functions = read_functions(memory, root, counters, problems)
    spans = None if every else _spans(memory, counters, functions)
    missing: list[str] = []
    versions = optional(lambda: read_versions(memory, root, counters, functions, problems, spans, missing), missing)
    kept = min(counters.version_count, layouts.const("BF_MAX_VERSIONS"))
    unread = kept - sum(count for _, count in spans) if spans is not None else 0
    return Tables(counters, functions, versions or [], unread, tuple(missing))
