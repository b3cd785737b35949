"""Faults of what is recorded of a swap, counted, printed, told by events, allocated and freed."""

from __future__ import annotations

import struct
from dataclasses import replace

from swap_fault import NAME, Faults, published, replaced
from swap_tables import SwapTables

from bareflow_gdb.abi import layouts

FAULTS = Faults()
fault = FAULTS.of

# Tiers and thresholds.


@fault("the version table has another tier", "swap_records", "swap_events")
def _tier(tables: SwapTables) -> None:
    tables.set_version(published(tables), level=2)


@fault("a threshold leads down", "swap_records")
def _down(tables: SwapTables) -> None:
    version = published(tables)
    tables.set_version(version, level=1)
    tables.set_function(NAME, level=1)
    tables.set_entry(NAME, compiled_level=1, code_v1=version.entry)
    tables.set_profile(NAME, opt_level=1)
    events = tables.events()
    event = events[tables.find(events, "publish", version)]
    event["arg"] = (*event["arg"][:3], event["arg"][3] & ~7 | 1)
    tables.rewrite(events)


@fault("a threshold is off by one", "thresholds")
def _threshold(tables: SwapTables) -> None:
    version = published(tables)
    index = (tables.record_of(version) - tables.root.version_table) // layouts.size("bf_version")
    at = tables.root.version_causes + index * layouts.size("bf_version_cause")
    tables.set(at, "bf_version_cause", calls=version.asked_at_call + 1)


@fault("the profiler is not told of the swap", "swap_records")
def _profiler(tables: SwapTables) -> None:
    tables.set_profile(NAME, address=replaced(tables).entry, opt_level=2)


@fault("the JIT's entry is not told of the swap", "swap_records")
def _entry(tables: SwapTables) -> None:
    tables.set_entry(NAME, compiled_level=2, code_v3=replaced(tables).entry)


@fault("two versions of a function are published", "swap_records", "swap_events")
def _two(tables: SwapTables) -> None:
    tables.set_version(replaced(tables), state=layouts.const("BF_VERSION_PUBLISHED"))


@fault("a version's number is used again", "swap_records")
def _number(tables: SwapTables) -> None:
    tables.set_version(tables.version("sum", 1), number=published(tables).number)


# Events, counters, log.


@fault("an event is lost", "swap_events")
def _lost(tables: SwapTables) -> None:
    events = tables.events()
    del events[tables.find(events, "publish", published(tables))]
    tables.rewrite(events)


@fault("an event is overwritten", "ring_records")
def _overwritten(tables: SwapTables) -> None:
    at = layouts.const("BF_RING0_RECORDS") + 1000 * 32
    tables.copy.write(at, b"\xff" * 32, "event")


@fault("the ring's header is overwritten", "ring_records")
def _header(tables: SwapTables) -> None:
    tables.set(tables.root.rings[0], "bf_ring_header", magic=0)


@fault("a swap is made twice", "swap_events")
def _double(tables: SwapTables) -> None:
    events = tables.events()
    at = tables.find(events, "publish", published(tables))
    tables.rewrite([*events[: at + 1], *events[at:]])


@fault("a swap is lost between two others", "swap_events")
def _between(tables: SwapTables) -> None:
    events = tables.events()
    event = events[tables.find(events, "publish", published(tables))]
    event["arg"] = (event["arg"][0], tables.version(NAME, 0).entry, *event["arg"][2:])
    tables.rewrite(events)


@fault("a swap is not counted", "counted", "swap_events")
def _counted(tables: SwapTables) -> None:
    kept = tables.root.status + layouts.offset("bf_status", "swap_count")
    tables.word(kept, struct.unpack("<I", tables.copy.read(kept, 4, "count"))[0] - 1)


@fault("a swap is not printed", "counted", "swap_log")
def _printed(tables: SwapTables) -> None:
    lines = tables.copy.serial.splitlines(keepends=True)
    at = next(index for index, line in enumerate(lines) if line.startswith(f"[RECOMPILE] {NAME}: O2 -> O3"))
    end = next(index for index in range(at, len(lines)) if lines[index].startswith("[ATOMIC-SWAP]"))
    del lines[at : end + 1]
    tables.copy.serial = "".join(lines)


@fault("another tier is printed than is published", "swap_log")
def _misprinted(tables: SwapTables) -> None:
    text = f"[RECOMPILE] {NAME}: O2 -> O3"
    assert text in tables.copy.serial
    tables.copy.serial = tables.copy.serial.replace(text, text.replace("O3", "O1"))


# Buffers.


@fault("two versions share a buffer", "code_blocks")
def _shared(tables: SwapTables) -> None:
    old = replaced(tables)
    tables.set_version(published(tables), code=old.code, entry=old.entry)
    tables.slot(NAME, old.entry)


@fault("code is written over a version that is not freed", "code_reuse")
def _aba(tables: SwapTables) -> None:
    old, new = tables.version("sum", 1), published(tables)
    events = tables.events()
    event = events[tables.find(events, "emit", new)]
    event["arg"] = (old.code, *event["arg"][1:])
    tables.rewrite(events)


@fault("a version is freed while it is published", "code_reuse", "swap_events")
def _freed_early(tables: SwapTables) -> None:
    version = published(tables)
    events = tables.events()
    kind = layouts.const("BF_EVENT_FREE")
    arguments = (version.number, version.code, version.code_size, layouts.const("BF_REASON_REPLACED"))
    last = events[-1]["tsc"]
    tables.rewrite([*events, {"tsc": last, "seq": 0, "type": kind, "cpu": 0, "id": version.function, "arg": arguments}])


@fault("a replaced version is entered again", "old_versions")
def _entered(tables: SwapTables) -> None:
    version = replaced(tables)
    events = tables.events()
    kind, last = layouts.const("BF_EVENT_CALL"), events[-1]["tsc"]
    call = {"tsc": last, "seq": 0, "type": kind, "cpu": 0, "id": version.function, "arg": (version.number, 1, 2, 3)}
    tables.rewrite([*events, call])


@fault("a return address leads into freed code", "old_versions")
def _return(tables: SwapTables) -> None:
    version = replaced(tables)
    tables.set_version(version, state=layouts.const("BF_VERSION_FREED"))
    tables.set(tables.block_record(version.code), "bf_block", state=layouts.const("BF_BLOCK_FREE"))
    registers = tables.copy.registers
    frame = registers.general["ebp"] - 64
    tables.copy.write(frame, struct.pack("<II", registers.general["ebp"], version.code + 9), "stack")
    tables.copy.registers = replace(registers, general={**registers.general, "ebp": frame, "esp": frame - 16})


@fault("data lies among the code", "code_blocks")
def _data(tables: SwapTables) -> None:
    tables.set_version(tables.version("fft_1d", 3), rodata=tables.version("sum", 0).code)


@fault("a block's header is overwritten", "code_blocks")
def _block(tables: SwapTables) -> None:
    tables.set(published(tables).code - 16, "block_header", magic=0x12345678)
