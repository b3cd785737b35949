"""How does a trace become a Common Trace Format 1.8 trace, for babeltrace2 and Trace Compass?

A stream file holds the guest's 32-byte records as they are, one file per ring; `metadata` describes them in
TSDL (https://diamon.org/ctf/v1.8.3/). There are no packets: a stream file is one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bareflow_gdb.abi.events import ADDRESSES, EVENT_TYPES, SIGNED, EventType
from bareflow_gdb.files import filling, private_opener, write_atomically, writing
from bareflow_gdb.tracing import segments
from bareflow_gdb.tracing.events import EVENT_DTYPE, Events
from bareflow_gdb.tracing.manifest import Manifest
from bareflow_gdb.tracing.store import Trace

_ARGUMENTS = 4

_PREAMBLE = """\
/* CTF 1.8 */
typealias integer {{ size = 8; align = 8; signed = false; }} := uint8_t;
typealias integer {{ size = 16; align = 8; signed = false; }} := uint16_t;
typealias integer {{ size = 32; align = 8; signed = false; }} := uint32_t;
typealias integer {{ size = 32; align = 8; signed = true; }} := int32_t;
typealias integer {{ size = 32; align = 8; signed = false; base = hex; }} := address_t;

trace {{
    major = 1;
    minor = 8;
    byte_order = le;
}};

env {{
    tracer_name = "bareflow";
    machine = "{machine}";
    build_id = "{build_id}";
    events_lost = {lost};
}};

clock {{
    name = tsc;
    description = "{clock}";
    freq = {frequency};
}};
typealias integer {{ size = 64; align = 8; signed = false; map = clock.tsc.value; }} := tsc_t;

/* struct bf_event: tsc, seq and type here, then cpu; id is the context of each event, the arguments its
fields. */ stream {{ event.header := struct {{ tsc_t timestamp; uint32_t seq; uint8_t id; }}; event.context :=
struct {{ uint8_t cpu; }}; }};
"""


def metadata(manifest: Manifest, lost: int = 0) -> str:
    """The TSDL text."""
    head = _PREAMBLE.format(
        machine=_quoted(manifest.machine),
        build_id=_quoted(manifest.build_id),
        lost=min(lost, (1 << 63) - 1),
        clock=_quoted("host: as the recorder saw it" if manifest.seen_from_outside else manifest.clock),
        frequency=manifest.tsc_hz or 1_000_000_000,
    )
    return head + "".join(_event(kind) for kind in EVENT_TYPES)


def _event(kind: EventType) -> str:
    fields = ""
    # Four words in any case; `_` before a name keeps it from being a keyword of TSDL.
    for index in range(_ARGUMENTS):
        name = kind.arguments[index] if index < len(kind.arguments) else f"unused{index}"
        word = "address_t" if name in ADDRESSES else "int32_t" if name in SIGNED else "uint32_t"
        fields += f"        {word} _{name};\n"
    return (
        f"\nevent {{\n    id = {kind.number};\n    name = {kind.name};\n"
        f"    context := struct {{\n        uint16_t _{kind.id or 'number'};\n    }};\n"
        f"    fields := struct {{\n{fields}    }};\n}};\n"
    )


def _quoted(text: str) -> str:
    return "".join(c for c in text if c.isascii() and c.isprintable() and c not in '"\\')


def export(trace: Trace, directory: Path) -> int:
    """Writes the CTF trace into a new or empty directory; returns the number of events.

    Raises UsageError when it is neither, CannotWrite; of what was begun then nothing stays.
    """
    count = 0
    with filling(directory):
        for part in trace.parts():
            events = segments.to_events(part)
            count += len(events)
            for ring in np.unique(events["ring"]).tolist():
                _append(directory / f"ring{ring}", events[events["ring"] == ring])
        write_atomically(directory / "metadata", metadata(trace.manifest, trace.lost))
    return count


def _append(stream: Path, events: Events) -> None:
    records = np.zeros(len(events), EVENT_DTYPE)
    for name in ("tsc", "type", "cpu", "id", "arg"):
        records[name] = events[name]
    records["seq"] = events["seq"].astype(np.uint32)
    with writing(stream), open(stream, "ab", opener=private_opener) as file:
        file.write(records.tobytes())
