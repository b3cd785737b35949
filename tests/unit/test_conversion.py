"""Closed journals become segments: whole and small; one that cannot be converted stays and is told."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bareflow_gdb.errors import BadData
from bareflow_gdb.tracing import segments
from bareflow_gdb.tracing.conversion import Conversion
from bareflow_gdb.tracing.events import EVENT_DTYPE, Batch, Events
from bareflow_gdb.tracing.journal import JournalWriter, journal_path

COUNT = 100_000


def events(count: int = COUNT, first: int = 0) -> Events:
    """As a guest writes them that floods its ring: a counter, a random number, an address out of a few."""
    chance = np.random.default_rng(20260101)
    made = np.zeros(count, EVENT_DTYPE)
    made["seq"] = np.arange(first, first + count)
    made["tsc"] = 1 << 40 | np.cumsum(chance.integers(50, 90, count))
    made["type"] = 17
    made["arg"][:, 0] = np.arange(first, first + count)
    made["arg"][:, 1] = chance.integers(0, 1 << 32, count)
    made["arg"][:, 2] = chance.choice([0x200000, 0x200400, 0x7FFFFF00], count)
    return made


def journal(directory: Path, number: int) -> tuple[Path, Path]:
    """Closed, of COUNT events, and the segment that it is to become."""
    writer = JournalWriter(journal_path(directory, number))
    writer.write(Batch(0, events(first=number * COUNT), number * COUNT, 0))
    writer.close()
    return writer.path, segments.segment_path(directory, number)


def test_all_that_waits_is_converted_at_the_end(tmp_path: Path) -> None:
    told: list[int] = []
    with Conversion() as conversion:
        for number in range(5):
            conversion.add(*journal(tmp_path, number))
        conversion.finish(told.append)
    assert told and told == list(range(told[0], 0, -1))
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"events-00{number}.parquet" for number in range(5)]
    for number in range(5):
        file = segments.open_segment(segments.segment_path(tmp_path, number))
        read = segments.to_events(file.read())
        assert (read["arg"] == events(first=number * COUNT)["arg"]).all()
        assert (read["seq"] == np.arange(number * COUNT, (number + 1) * COUNT)).all()


def test_one_that_cannot_be_converted_is_told_and_the_others_are_whole(tmp_path: Path) -> None:
    good = journal(tmp_path, 0)
    bad = journal(tmp_path, 1)
    bad[0].write_bytes(b"garbage" * 100)
    with pytest.raises(BadData, match="is not an event journal"), Conversion() as conversion:
        conversion.add(*good)
        conversion.add(*bad)
        conversion.finish(lambda _: None)
    assert good[1].exists() and bad[0].exists() and not bad[1].exists()


def test_one_that_failed_beside_the_recording_is_told_at_the_next(tmp_path: Path) -> None:
    bad = journal(tmp_path, 0)
    bad[0].write_bytes(b"garbage" * 100)
    with Conversion() as conversion:
        conversion.add(*bad)
        # One thread takes them in turn: when this is a segment, the one before has failed.
        with pytest.raises(BadData, match="is not an event journal"):
            for number in range(1, 1000):
                conversion.add(*journal(tmp_path, number))


def test_a_counter_and_random_numbers_take_no_more_than_what_they_tell(tmp_path: Path) -> None:
    path, segment = journal(tmp_path, 0)
    segments.convert_journal(path, segment)
    # 4 bytes of chance, 1 of time, and hardly anything of what repeats.
    assert segment.stat().st_size / COUNT < 5.7
    group = segments.open_segment(segment).metadata.row_group(0)
    encodings = {
        group.column(index).path_in_schema: group.column(index).encodings for index in range(group.num_columns)
    }
    delta = {name for name, used in encodings.items() if "DELTA_BINARY_PACKED" in used}
    assert delta == {"tsc", "seq", "arg0", "arg1"}
    assert "RLE_DICTIONARY" in encodings["arg2"], "addresses out of a few are named, not counted"
