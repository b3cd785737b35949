"""Shows the museum: `python -m museum [PART OF A NAME]` diagnoses every exhibit at both places and writes the table.

Exit code 1 when one was not named, or a healthy guest has a finding.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from guest_copy import GuestCopy
from machines import QUICK, SECONDS, wait_for_halt

from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.qemu.image import RootSettings
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine
from museum import look, started, written
from museum.exhibit import OURS, PLACES, STOCK, Exhibit
from museum.table import Row, write

ROOT = Path(__file__).resolve().parents[2]
FIRMWARE = ROOT / "build" / "firmware"


@contextmanager
def guest(variant: str, firmware: Path = FIRMWARE) -> Iterator[Machine]:
    """A healthy guest at the end of its run."""
    if variant == OURS:
        machine = launch(firmware / "fluid.img", settings=RootSettings(thresholds=QUICK))
        wait_for_stage(machine, "idle", SECONDS)
    else:
        machine = launch(firmware / "stock" / "stock.img", disk=firmware / "stock" / "stock_disk.img")
        wait_for_halt(machine)
    try:
        yield machine
    finally:
        machine.stop()


def main(part: str) -> int:
    """Both wings."""
    rows: list[Row] = []
    wrong = 0

    def show(exhibit: Exhibit[Any], see: Callable[[int], look.Seen]) -> None:
        nonlocal wrong
        for place in PLACES:
            seen = see(place)
            named = seen.names(exhibit)
            wrong += not named
            rows.append(Row(exhibit, place, named, len(seen.causes), seen.seconds))
            print(
                f"{'  ' if named else '! '}{seen.seconds:5.1f} s  {exhibit.variant:15} {exhibit.defect}, {place}: "
                f"{named or '; '.join(seen.causes) or 'nothing'}",
                flush=True,
            )

    for variant in (OURS, STOCK):
        exhibits = [one for one in written.WING if one.variant == variant and part in one.defect]
        if not exhibits:
            continue
        with guest(variant) as machine:
            copy = GuestCopy(machine)
        healthy = [str(finding) for finding in copy.findings().findings if finding.bad]
        wrong += bool(healthy)
        print(
            f"{'! ' if healthy else '  '}a healthy guest, {variant}: {'; '.join(healthy) or 'no finding'}", flush=True
        )
        for exhibit in exhibits:
            show(exhibit, lambda place, one=exhibit, copy=copy: look.in_memory(one, copy, place))
    for exhibit in (one for one in started.WING if part in one.defect):
        with tempfile.TemporaryDirectory(prefix="bareflow-museum-") as folder:
            numbered = {place: Path(folder) / str(place) for place in PLACES}
            for each in numbered.values():
                each.mkdir()
            show(exhibit, lambda place, one=exhibit, at=numbered: look.started(one, FIRMWARE, at[place], place))
    if not part and not wrong:
        write(ROOT / "docs" / "museum.md", rows)
    longest = max(rows, key=lambda row: row.seconds)
    print(f"{len(rows)} exhibits, {wrong} wrong; the longest took {longest.seconds:.1f} s ({longest.exhibit.defect})")
    return 1 if wrong else 0


if __name__ == "__main__":
    runtime = tempfile.mkdtemp(prefix="bfm-")
    os.environ["XDG_RUNTIME_DIR"] = runtime
    try:
        code = main(" ".join(sys.argv[1:]))
    finally:
        for left in Machine.all():
            left.stop()
        shutil.rmtree(runtime, ignore_errors=True)
    sys.exit(code)
