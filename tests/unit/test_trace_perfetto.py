"""The Perfetto export, read with the protobuf definitions of Perfetto's own package, which shares no code with us."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as protos
from trace_maker import SWAP, batch, make

from bareflow_gdb.abi.events import ADDRESSES, ENUMS, EVENT_TYPES
from bareflow_gdb.analysis.exports import columns, perfetto
from bareflow_gdb.analysis.latencies import swap_times
from bareflow_gdb.analysis.zero import trace_clock
from bareflow_gdb.tracing.events import TRACE_DTYPE, decode
from bareflow_gdb.tracing.store import Trace

SAMPLE = Path(__file__).parent.parent.parent / "traces" / "swaps-10-20-30"
EVENT = protos.TrackEvent
NOT_SHOWN_ONCE = {"boot", "compile_begin", "compile_end", "module_call"}
"""Types that are stretches of time, not moments."""


@dataclass(frozen=True)
class Told:
    """A moment or a stretch as a reader sees it."""

    at: int
    track: str
    name: str
    arguments: dict[str, Any]
    flows: tuple[int, ...]
    lasted: int = -1
    """-1 = a moment."""


@dataclass
class Read:
    """What a file says, with names in place of numbers."""

    told: list[Told] = field(default_factory=list)
    counters: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    unended: list[Told] = field(default_factory=list)


def read(path: Path) -> Read:
    """As trace_processor does it: packets sorted by time, in equal times by their place in the file."""
    trace = protos.Trace.FromString(path.read_bytes())
    tables: dict[str, dict[int, str]] = defaultdict(dict)
    tracks: dict[int, Any] = {}
    events = []
    for packet in trace.packet:
        assert packet.trusted_packet_sequence_id == 1
        for kind in ("event_names", "debug_annotation_names", "debug_annotation_string_values"):
            for one in getattr(packet.interned_data, kind):
                assert one.iid not in tables[kind]
                tables[kind][one.iid] = one.str.decode() if isinstance(getattr(one, "str", ""), bytes) else one.name
        if packet.HasField("track_descriptor"):
            tracks[packet.track_descriptor.uuid] = packet.track_descriptor
        if packet.HasField("track_event"):
            assert packet.sequence_flags == protos.TracePacket.SEQ_NEEDS_INCREMENTAL_STATE
            events.append((packet.timestamp, packet.track_event))
    found = Read()
    open_: dict[int, list[Told]] = defaultdict(list)
    for at, event in sorted(events, key=lambda one: one[0]):
        track = title(tracks, event.track_uuid)
        if event.type == EVENT.TYPE_COUNTER:
            assert tracks[event.track_uuid].HasField("counter")
            found.counters[track].append((at, event.counter_value))
        elif event.type == EVENT.TYPE_SLICE_END:
            begun = open_[event.track_uuid].pop()
            found.told.append(Told(begun.at, track, begun.name, begun.arguments, begun.flows, at - begun.at))
        else:
            told = Told(
                at, track, tables["event_names"][event.name_iid], arguments(event, tables), tuple(event.flow_ids)
            )
            (open_[event.track_uuid] if event.type == EVENT.TYPE_SLICE_BEGIN else found.told).append(told)
    found.unended = [told for stack in open_.values() for told in stack]
    return found


def title(tracks: dict[int, Any], uuid: int) -> str:
    described = tracks[uuid]
    above = f"{title(tracks, described.parent_uuid)}/" if described.parent_uuid in tracks else ""
    return above + (described.name or described.process.process_name)


def arguments(event: Any, tables: Any) -> dict[str, Any]:
    found = {}
    for one in event.debug_annotations:
        name = tables["debug_annotation_names"][one.name_iid]
        which = one.WhichOneof("value")
        value = getattr(one, which)
        found[name] = tables["debug_annotation_string_values"][value] if which == "string_value_iid" else value
        assert (which == "pointer_value") == (name in ADDRESSES)
    return found


def exported(directory: Path, out: Path) -> Read:
    trace = Trace.open(directory)
    assert perfetto.export(trace, out) == trace.count
    return read(out)


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Read:
    return exported(SAMPLE, tmp_path_factory.mktemp("perfetto") / "sample.pftrace")


def test_every_event_is_there_with_what_it_says(sample: Read) -> None:
    trace = Trace.open(SAMPLE)
    clock = trace_clock(trace)
    wanted = sorted(
        (columns.moment(clock, event.tsc), event.type, *sorted(numbers(event.fields()).items()))
        for event in decode(trace.events())
        if event.type not in NOT_SHOWN_ONCE
    )
    got = sorted((one.at, one.name, *sorted(numbers(one.arguments).items())) for one in sample.told if one.lasted < 0)
    assert got == wanted and len(got) > 300


def numbers(fields: dict[str, Any]) -> dict[str, int]:
    """Without the names, which the track or a word tells."""
    return {name: value for name, value in fields.items() if name not in (*ENUMS, "function", "module")}


def test_a_swap_is_one_flow_from_its_threshold_over_compile_and_publish_to_its_first_call(sample: Read) -> None:
    flows: dict[int, list[Told]] = defaultdict(list)
    for one in sorted(sample.told, key=lambda one: one.at):
        for flow in one.flows:
            flows[flow].append(one)
    trace = Trace.open(SAMPLE)
    clock = trace_clock(trace)
    for swap in swap_times(trace):
        (steps,) = (
            steps
            for steps in flows.values()
            if any(one.name == "publish" and one.arguments["version"] == swap.version for one in steps)
        )
        assert {one.track.split("/")[1] for one in steps} == {swap.function}
        at = {one.name.replace(f"compile O{swap.level}", "compile_begin"): one.at for one in steps}
        wanted = {name: columns.moment(clock, tsc) for name, tsc in swap.reached.items() if name != "compile_end"}
        assert at == wanted and {"threshold", "compile_begin", "publish", "first_execution"} <= set(at)


def test_tiers_compiles_and_boot_stages_are_stretches_of_time_on_tracks_of_their_own(sample: Read) -> None:
    names = Trace.open(SAMPLE).manifest.functions
    tiers = [one for one in sample.told if one.track.endswith("/primes/tier")]
    assert [one.name for one in tiers] == ["O0", "O1", "O2"]
    assert all(one.at + one.lasted == after.at for one, after in pairwise(tiers))
    open_tiers = [one.track.split("/")[1] for one in sample.unended if one.name == "O3"]
    assert sorted(open_tiers) == sorted(names)
    compiles = [one.name for one in sample.told if one.track.endswith("/primes") and one.lasted >= 0]
    assert compiles == ["compile O1", "compile O2", "compile O3"]
    stages = [one for one in sample.told if one.track.endswith("/CPU 0") and one.name in ("stage1", "kernel", "core")]
    assert len(stages) == 3 and min(one.at for one in stages) == 0


def test_pools_are_counters_of_what_was_allocated_made_smaller_and_freed(tmp_path: Path) -> None:
    rows = [
        (1000, "pool_alloc", 0, (0x200000, 100, 0, 1)),
        (2000, "pool_alloc", 2, (0x300000, 7, 0, 1)),
        (2500, "pool_shrink", 0, (0x200000, 60, 100)),
        (3000, "pool_free", 0, (0x200000, 60, 0, 1)),
        (3000, "pool_alloc", 0, (0x200000, 5, 0, 1)),
        (3500, "pool_free", 0, (0x200000, 60, 0, 1)),
    ]
    found = exported(make(tmp_path / "trace", [batch(rows[:2])], [batch(rows[2:], 2)]), tmp_path / "out")
    (code,) = (values for track, values in found.counters.items() if "code" in track)
    (metadata,) = (values for track, values in found.counters.items() if "metadata" in track)
    assert (code, metadata) == ([(0, 100), (1500, 60), (2000, 0), (2000, 5), (2500, -55)], [(1000, 7)])


def test_a_module_call_lasts_as_many_cycles_as_it_says_and_begins_in_the_trace(tmp_path: Path) -> None:
    rows = [(5000, "mark", 0, ()), (9000, "module_call", 0, (5, 3000, 0)), (9500, "module_call", 7, (5, 0, 1 << 31))]
    found = exported(make(tmp_path / "trace", [batch(rows)]), tmp_path / "out")
    calls = [(one.at, one.lasted, one.name, one.arguments["result"]) for one in found.told if one.lasted >= 0]
    assert calls == [(1000, 3000, "fibonacci", 5), (0, 4500, "not known", 5)]


def test_what_a_hostile_guest_writes_makes_a_file_that_readers_take(tmp_path: Path) -> None:
    """Every type, known or not, with the largest numbers; names with markup; a clock of an impossible rate."""
    rows = [(n, kind.name, 0xFFFF, (0xFFFFFFFF,) * 4) for n, kind in enumerate(EVENT_TYPES)]
    wild = batch(rows)
    more = np.repeat(wild.events, 2)
    more["seq"] = np.arange(len(more))
    more["type"][::2] = np.arange(len(more) // 2) + 200
    more["tsc"][1::2] = np.iinfo(np.uint64).max - np.arange(len(more) // 2)[::-1].astype(np.uint64)
    wild = type(wild)(255, more, 0, 0)
    evil = "</script>\n\x1b[31m;\udc80"
    for hz in (0, 1, (1 << 64) - 1):
        trace = make(tmp_path / f"trace{hz}", [wild], functions=(evil,), machine=evil, tsc_hz=hz)
        found = exported(trace, tmp_path / f"out{hz}")
        assert len(found.told) + len(found.unended) >= len(more) - 4
        assert all(one.at < 1 << 63 for one in found.told)
        assert not any(set("\n\x1b") & set(one.track) for one in found.told)


@pytest.mark.parametrize("kind", EVENT_TYPES, ids=lambda kind: kind.name)
def test_columns_say_of_many_events_what_fields_say_of_one(kind: Any) -> None:
    events = np.zeros(3, TRACE_DTYPE)
    events["type"] = kind.number
    events["arg"] = [[1, 2, 3, 4], [0xFFFFFFFF] * 4, [1 << 31, 5 << 8 | 3 << 3 | 2, 1 << 31, 1 << 31]]
    told = columns.fields(kind, {f"arg{at}": np.ascontiguousarray(events["arg"][:, at]) for at in range(4)})
    for index, event in enumerate(decode(events)):
        fields = {name: value % (1 << 64) for name, value in event.fields().items() if name != kind.id}
        assert {name: int(values[index]) for name, values in told.items()} == fields


def test_a_swap_over_the_end_of_a_segment_is_one_flow(tmp_path: Path) -> None:
    found = exported(make(tmp_path / "trace", [batch(SWAP[:3])], [batch(SWAP[3:], 3)]), tmp_path / "out")
    assert {flow for one in found.told for flow in one.flows} == {1}
    assert (tmp_path / "out").stat().st_mode & 0o777 == 0o600
