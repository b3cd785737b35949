"""What was recorded: which guest, which clock, which sources, how much was lost?

`manifest.json` of a trace directory. It is written when the recording starts (`complete` false) and at its
end, so the trace of a recorder that was killed still names its guest.
"""

from __future__ import annotations

import dataclasses
import json
import typing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from bareflow_gdb.errors import BadData, UsageError
from bareflow_gdb.files import write_atomically
from bareflow_gdb.foreign import printable
from bareflow_gdb.small_files import read_json

T = TypeVar("T")

FILE = "manifest.json"
KIND = "bareflow trace"
SCHEMA_VERSION = 2
"""2: `Source` tells what kind it is, and the clock may be the host's; else as 1."""
READ_VERSIONS = (1, 2)
WRITTEN = "written by the guest itself"
"""The confidence of events of a ring."""
HOST = "host"
"""The clock of what was seen from outside: nanoseconds of the host's own."""
_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Source:
    """One event source and its loss account: `first` is its first sequence number, `lost` is exact."""

    name: str
    ring: int
    capacity: int
    first: int
    events: int
    lost: int
    guest_dropped: int
    guest_waits: int
    reader_deaths: int
    kind: str = "ring"
    """"ring": the guest wrote them; "watch", "tables": they were seen from outside."""
    clock: str = ""
    """That of its events, as `Manifest.clock`; "" in traces of version 1."""
    confidence: str = ""
    """What its events are worth, in words."""
    missed: int = 0
    """Swaps that the guest's tables count and no event of this source shows."""
    left_out: int = 0
    """Events that it gave and the recording's filter did not keep; `first` and `events` count those that were kept."""


@dataclass(frozen=True)
class Manifest:
    """`manifest.json`. Strings that came from the guest are without control characters."""

    suite: str
    machine: str
    started: str
    seconds: float
    complete: bool
    ended: str
    """Why the recording ended: "idle", "halted", "time", "interrupted", "guest gone", …; "" while it runs."""
    clock: str
    """`tsc` (host time under plain emulation), `icount` (instructions), or HOST: the recorder's, not the guest's."""
    tsc_hz: int
    abi: str
    variant: str
    build_id: str
    thresholds: tuple[int, ...]
    functions: tuple[str, ...]
    modules: tuple[str, ...]
    sources: tuple[Source, ...]
    only: tuple[str, ...] = ()
    """Event types that the guest was asked for while it was recorded; none = it wrote those that it writes anyhow."""
    filter: tuple[str, ...] = ()
    """What was kept of the events, in words; none = all."""
    unmet: tuple[str, ...] = ()
    """What the filter asked for and did not come, in sentences."""

    @property
    def left_out(self) -> int:
        """Events that the filter did not keep."""
        return sum(source.left_out for source in self.sources)

    @property
    def missed(self) -> int:
        """Swaps that the guest's tables count and no event shows."""
        return sum(source.missed for source in self.sources)

    @property
    def seen_from_outside(self) -> bool:
        """Are its times those at which the host saw something?"""
        return self.clock == HOST

    @property
    def kind(self) -> str:
        """Of its sources: "ring", "watch", "tables"."""
        return next((source.kind for source in self.sources), "ring")

    def source(self, ring: int) -> Source | None:
        """Where the events with this number in `ring` come from; None = a killed recorder did not say."""
        return next((source for source in self.sources if source.ring == ring), None)

    def save(self, directory: Path) -> None:
        """Replaces the manifest of `directory` at once."""
        record = {"kind": KIND, "schema": SCHEMA_VERSION, **dataclasses.asdict(self)}
        write_atomically(directory / FILE, json.dumps(record, indent=1) + "\n")


def load(directory: Path) -> Manifest:
    """The manifest of a trace; raises UsageError when it is not a trace, BadData when it cannot be right."""
    path = directory / FILE
    try:
        record = read_json(path, _MAX_BYTES)
    except FileNotFoundError as error:
        raise UsageError(f"{directory} is not a trace: it has no {FILE}; `bareflow trace record` makes one") from error
    except NotADirectoryError as error:
        raise UsageError(f"{directory} is not a trace directory") from error
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BadData(f"{path} is damaged: {error}") from error
    if not isinstance(record, dict) or record.get("kind") != KIND:
        raise BadData(f"{path} does not belong to a bareflow trace; give the directory of one")
    if record.get("schema") not in READ_VERSIONS:
        raise BadData(
            f"{directory} is a trace of version {record.get('schema')!r}, this suite reads"
            f" {' and '.join(map(str, READ_VERSIONS))};"
            " use the suite that recorded it"
        )
    try:
        return _decode(Manifest, record)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise BadData(f"{path} is damaged: {type(error).__name__}: {error}") from error


def _decode(kind: type[T], record: dict[str, Any]) -> T:
    hints = typing.get_type_hints(kind)
    # What was added since, older recorders did not write.
    optional = {name for name in hints if hasattr(kind, name)}
    asked = {name: hint for name, hint in hints.items() if name in record or name not in optional}
    return kind(**{name: _value(hint, record[name]) for name, hint in asked.items()})


def _value(kind: Any, value: Any) -> Any:
    if typing.get_origin(kind) is tuple:
        if not isinstance(value, list) or len(value) > 4096:
            raise ValueError("a list was expected")
        return tuple(_value(typing.get_args(kind)[0], item) for item in value)
    checked: dict[Any, Callable[[Any], Any]] = {
        bool: lambda value: value is True,
        float: float,
        int: _count,
        str: _text,
    }
    return checked[kind](value) if kind in checked else _decode(kind, value)


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 64:
        raise ValueError(f"{value!r} is not a count")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str) or len(value) > 4096:
        raise ValueError("a text was expected")
    return printable(value)
