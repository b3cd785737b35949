"""What do the events tell of each version: emitted, published, first executed, retired, freed, and in which order?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from bareflow_gdb.guest.code.events import Event

_ENDS = {"emit": "emitted", "publish": "published", "retire": "retired", "free": "freed"}


@dataclass(frozen=True)
class Told:
    """One event, with its fields; `before` is the time of the event before it, 0 = not known."""

    event: Event
    fields: Mapping[str, int]
    before: int

    def has_time(self, tsc: int) -> bool:
        """May the record of it have been made then? It is, right before the event."""
        return self.before <= tsc <= self.event.tsc


@dataclass
class Life:
    """What is told of one version, in order."""

    number: int
    told: list[Told] = field(default_factory=list)

    def of(self, kind: str) -> list[Told]:
        return [one for one in self.told if one.event.type == kind]

    @property
    def state(self) -> str:
        """What it is by its last event; "" = no event tells."""
        return next((_ENDS[one.event.type] for one in reversed(self.told) if one.event.type in _ENDS), "")


def lives(events: Iterable[Event]) -> dict[int, Life]:
    """By version number. Events of one ring by sequence number, as SWAP_EVENTS names them."""
    found: dict[int, Life] = {}
    before = earlier = 0
    for event in events:
        fields = event.fields()
        number = fields.get("version")
        if number is not None:
            # A version is retired by the publishing store of another, whose event comes first.
            since = earlier if event.type == "retire" else before
            found.setdefault(number, Life(number)).told.append(Told(event, fields, since))
        earlier, before = before, event.tsc
    return found


def publications(events: Iterable[Event]) -> dict[int, list[Told]]:
    """The publishing stores of each function, in order."""
    found: dict[int, list[Told]] = defaultdict(list)
    before = 0
    for event in events:
        if event.type == "publish":
            found[event.id].append(Told(event, event.fields(), before))
        before = event.tsc
    return found
