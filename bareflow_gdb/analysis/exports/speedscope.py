"""How does a trace become a profile for https://www.speedscope.app? One evented profile: what opened and closed, when.

(https://www.speedscope.app/file-format-schema.json) Times are nanoseconds since the zero of the trace's report.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bareflow_gdb.analysis.exports.columns import moment
from bareflow_gdb.analysis.exports.stacks import Stretch, stretches
from bareflow_gdb.analysis.zero import trace_clock
from bareflow_gdb.files import replacing
from bareflow_gdb.tracing.store import Trace

_SCHEMA = "https://www.speedscope.app/file-format-schema.json"


def export(trace: Trace, path: Path) -> int:
    """Writes the file; returns the number of stretches of time in it. Raises BadData, CannotWrite."""
    clock = trace_clock(trace)
    frames: dict[str, int] = {}
    name = f"{trace.manifest.machine} ({trace.manifest.variant})"

    def opened(one: Stretch) -> Iterator[dict[str, Any]]:
        frame = frames.setdefault(one.name, len(frames))
        yield {"type": "O", "frame": frame, "at": moment(clock, one.start)}
        for inner in one.within:
            yield from opened(inner)
        yield {"type": "C", "frame": frame, "at": moment(clock, one.end)}

    count = 0
    with replacing(path) as partial, partial.open("w", encoding="ascii") as file:
        # The names are known at the end.
        file.write(f'{{"$schema": "{_SCHEMA}", "name": {json.dumps(name)}, "exporter": "bareflow", "profiles": [\n')
        file.write(
            f'{{"type": "evented", "name": {json.dumps(name)}, "unit": "nanoseconds", "startValue": 0, "events": ['
        )
        for one in stretches(trace, clock.last):
            for event in opened(one):
                file.write(f"{',' if count else ''}\n{json.dumps(event)}")
                count += 1
        file.write(f'\n], "endValue": {moment(clock, clock.last)}}}\n], "shared": {{"frames": ')
        json.dump([{"name": frame} for frame in frames], file)
        file.write("}}\n")
    return count // 2
