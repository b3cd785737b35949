"""How is a running guest recorded into a trace directory?

Drains a source of events while the guest runs and journals what it takes; a second thread turns closed journals
into Parquet, a third saves now and then what the guest's tables say. The guest may die at any time: its last moment
is saved from the RAM that is still mapped here. The event rings and the tables are read without a stop; watchpoints
stop it at each swap.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from bareflow_gdb.abi import layouts
from bareflow_gdb.abi.events import BY_NAME, event_type
from bareflow_gdb.errors import BadData, BareflowError, UsageError
from bareflow_gdb.files import PARTIAL, filling, locked, require_unused, write_atomically
from bareflow_gdb.guest.base.root import release_hold
from bareflow_gdb.guest.base.values import word
from bareflow_gdb.guest.boot.boot import stage_of
from bareflow_gdb.guest.guest import Guest, cpu_of
from bareflow_gdb.guest.names.elf import beside
from bareflow_gdb.guest.pointers import Pointers
from bareflow_gdb.guest.stock.places import has_halted
from bareflow_gdb.memory import snapshot
from bareflow_gdb.memory.qemu_ram import QemuRam
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.tracing import manifest, segments
from bareflow_gdb.tracing.codes import CodeStore
from bareflow_gdb.tracing.conversion import Conversion
from bareflow_gdb.tracing.events import Batch
from bareflow_gdb.tracing.filters import EVERYTHING, Filter, Filtered, GuestNames
from bareflow_gdb.tracing.journal import JournalWriter, journal_path
from bareflow_gdb.tracing.limits import CODE_LIMITS, CodeLimits
from bareflow_gdb.tracing.manifest import HOST, Manifest, Source
from bareflow_gdb.tracing.ring import AS_IT_IS, RECORDED_ALREADY, Asked, Rings
from bareflow_gdb.tracing.snapshot_plan import Moment, read_moment, wait_for_kernel
from bareflow_gdb.tracing.source import HOST_HZ, EventSource
from bareflow_gdb.tracing.stock_moment import read_stock_moment
from bareflow_gdb.tracing.store import MAX_SERIAL
from bareflow_gdb.tracing.tables import Tables
from bareflow_gdb.tracing.watch import Watch, names_of

SEGMENT_RECORDS = 8 * segments.BATCH_ROWS
LOOK_SECONDS = 0.05
SNAPSHOT_SECONDS = 5.0
NAP_SECONDS = 0.001
BOOT_SECONDS = 60.0
HALT_SECONDS = 0.5
"""So often a stock kernel's registers are asked: its halt is nowhere in memory."""
RING, WATCH, TABLES = "ring", "watch", "tables"
SOURCES = (RING, WATCH, TABLES)
WORDS = {
    RING: "its event rings, without a stop",
    WATCH: "write watchpoints on its code pointers, with a stop at each swap",
    TABLES: "its tables, polled without a stop",
}
CANNOT_WRITE = "it could not be written"
RESERVE = f".reserve{PARTIAL}"
"""Room for the last note of a recorder whose disk is full."""
RESERVE_BYTES = 16 << 10

_EMIT = BY_NAME["emit"].number
_PUBLISH = BY_NAME["publish"].number
_ENDED_STAGES = {layouts.const("BF_STAGE_IDLE"): "idle", layouts.const("BF_STAGE_HALTED"): "halted"}


@dataclass(frozen=True)
class Progress:
    """How far a recording is."""

    seconds: float
    events: int
    lost: int
    missed: int
    """Swaps that the guest's tables count and no event shows."""
    swaps: int
    left_out: int
    """Events that the filter did not keep."""
    stage: str


class Recorder:
    """Records one machine into a new directory. A context manager: leaving it completes the trace.

    `source`: one of SOURCES; "" = the ring where the kernel has one, else watchpoints where no gdb is connected, else
    the tables. `wanted`: what is kept of what it gives.

    From its first moment the directory is a trace that says what it is, locked until the recorder ends or dies.
    Raises UsageError when the directory has something in it, the guest is recorded already, or a gdb is connected that
    the source cannot work beside; Unreachable or BadData when there is no guest with event rings within
    `boot_seconds`, and none that has no rings at all; KeyboardInterrupt when it is `stopped` while it waits for them;
    CannotWrite.
    """

    def __init__(
        self,
        machine: Machine,
        directory: Path,
        *,
        lossless: bool = True,
        segment_records: int = SEGMENT_RECORDS,
        boot_seconds: float = BOOT_SECONDS,
        code_limits: CodeLimits = CODE_LIMITS,
        asked: Asked = AS_IT_IS,
        source: str = "",
        wanted: Filter = EVERYTHING,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        require_unused(directory)
        # Before anything is waited for: is there each of these types?
        asked.mask(0)
        self._only = (*asked.only, *asked.also) if asked.only else ()
        self.directory = directory
        self.machine = machine
        self._segment_records = segment_records
        self._segment = 0
        self._seconds = 0.0
        self._snapshot: Future[object] | None = None
        self._swaps = 0
        self._next_halt = 0.0
        self._halted = False
        self._ended = ""
        self._finished = False
        with ExitStack() as begun:
            if source in ("", RING):
                # Whoever reads a ring, in whatever mode, moves its tail: there can be one only.
                begun.enter_context(locked(machine.ram_path, RECORDED_ALREADY))
            # Without the machine's own check for life: RAM stays readable here after QEMU has gone.
            self.ram = QemuRam(machine.ram_path, screen=machine.read_screen)
            found = wait_for_kernel(self.ram, machine, boot_seconds, stopped)
            if found is None:
                # Its records are searched for, and whether it has halted its registers tell.
                self.ram.close()
                self.ram = QemuRam(machine.ram_path, screen=machine.read_screen, monitor=machine.monitor)
            self._guest = self._see()
            self.moment = found if found is not None else read_stock_moment(self._guest)
            self._or_tables = source == "" and found is None
            self._wanted = wanted
            self._watch: Watch | None = None
            self._source = self._filtered(self._make_source(source, lossless, asked))
            self._source.require_free()
            self._began = time.monotonic()
            self._started = datetime.now(UTC).isoformat(timespec="seconds")
            begun.enter_context(filling(directory))
            self._save_manifest("", ())
            write_atomically(directory / RESERVE, bytes(RESERVE_BYTES))
            self._serial = begun.enter_context(machine.serial_path.open("rb"))
            self._codes = CodeStore(directory, code_limits)
            self._journal = JournalWriter(journal_path(directory, 0))
            begun.callback(lambda: self._journal.close())
            self._conversion = begun.enter_context(Conversion())
            self._moments = ThreadPoolExecutor(1, "trace moments")
            begun.callback(self._moments.shutdown, cancel_futures=True)
            self._begun = begun.pop_all()

    def __enter__(self) -> Recorder:
        with ExitStack() as undo:
            undo.push(self._begun)
            try:
                undo.enter_context(self._source)
            except UsageError:
                if not self._or_tables:
                    raise
                self._watch = None
                self._source = undo.enter_context(self._filtered(Tables(Pointers(self._see()))))
            self._refresh()
            undo.pop_all()
        return self

    def _make_source(self, asked_for: str, lossless: bool, asked: Asked) -> EventSource:
        if asked_for in ("", RING) and self.moment.root is not None:
            return Rings(self.ram, self.moment.rings, lossless=lossless, asked=asked)
        if asked_for == RING:
            why = "which has no event ring to record"
            raise BadData(f"machine {self.machine.name} runs a stock kernel, {why}; `--source watch` sees its swaps")
        if asked != AS_IT_IS or not lossless or self._wanted.around:
            what = "types, calls, exceptions and the flight recorder"
            raise UsageError(f"{what} are of the event ring; other sources see swaps only")
        # Not the guest of the moments, which are saved by another thread.
        pointers = Pointers(self._see())
        if asked_for == TABLES:
            return Tables(pointers)
        self._watch = Watch(self.machine, pointers, lambda: names_of(beside(self.machine.image)))
        return self._watch

    def _filtered(self, source: EventSource) -> EventSource:
        if self._wanted == EVERYTHING:
            return source
        guest = self._see()
        return Filtered(source, self._wanted, GuestNames(guest, Pointers(guest)))

    def _see(self) -> Guest:
        return Guest(self.ram, guesses=lambda _: beside(self.machine.image))

    @property
    def waits(self) -> bool:
        """Is the guest paused, so that nothing comes before somebody lets it go?"""
        with suppress(BareflowError):
            return self.machine.status() in ("paused", "prelaunch")
        return False

    @property
    def source(self) -> str:
        """What its events come from, in words."""
        return ", ".join(dict.fromkeys(WORDS.get(count.kind, count.kind) for count in self._source.counts()))

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if self._finished:
            return
        if not isinstance(error, OSError):
            self.finish()
            return
        # The disk failed: the rings are given back, and the trace is left like one of a killed recorder.
        self._finished = True
        self._source.__exit__(None, None, None)
        self._give_up()
        self._let_go()

    def _give_up(self) -> None:
        """Notes why the trace is not complete, where that can be written."""
        with suppress(OSError):
            (self.directory / RESERVE).unlink(missing_ok=True)
            self._save_manifest(CANNOT_WRITE, ())

    def _let_go(self) -> None:
        self._begun.close()
        self.ram.close()

    @property
    def kept(self) -> bool:
        """Is there a trace, complete or not? Not when it failed before its first moment was saved."""
        return (self.directory / manifest.FILE).exists()

    def release_hold(self) -> None:
        """Lets a guest run that waits after registration, or that was started paused."""
        if self.moment.root is not None:
            release_hold(self.ram, self.moment.root)
        if self._watch is not None:
            self._watch.let_go()
        elif self.moment.root is None and self.machine.status() != "running":
            self.machine.resume()

    def run(
        self,
        *,
        until_idle: bool = False,
        seconds: float | None = None,
        stopped: Callable[[], bool] = lambda: False,
        progress: Callable[[Progress], None] | None = None,
    ) -> str:
        """Records until the run has ended, the time is over or `stopped()`; returns why, as in the manifest.

        In any case it ends when QEMU ends or the guest halts.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        next_snapshot = time.monotonic() + SNAPSHOT_SECONDS
        next_look = 0.0
        while not self._ended:
            self.drain()
            if self._source.nearly_empty:
                time.sleep(NAP_SECONDS)
            now = time.monotonic()
            if now < next_look:
                continue
            next_look = now + LOOK_SECONDS
            self._ended = self._reason_to_end(until_idle, deadline, stopped)
            if progress is not None:
                progress(self.progress())
            if now >= next_snapshot:
                next_snapshot = now + SNAPSHOT_SECONDS
                self._refresh_in_background()
        return self._ended

    def _reason_to_end(self, until_idle: bool, deadline: float | None, stopped: Callable[[], bool]) -> str:
        if not self.machine.alive():
            return "guest gone"
        if self._source.restarted:
            return "guest restarted"
        ended = self._ended_stage()
        if ended == "halted" or (ended and until_idle):
            return ended
        if stopped():
            return "interrupted"
        return "time" if deadline is not None and time.monotonic() >= deadline else ""

    def _ended_stage(self) -> str:
        if self.moment.root is not None:
            return _ENDED_STAGES.get(stage_of(self.ram), "")
        now = time.monotonic()
        if now >= self._next_halt:
            self._next_halt = now + HALT_SECONDS
            self._halted = has_halted(self.ram, cpu_of(self.ram))
        return "halted" if self._halted else ""

    def drain(self) -> int:
        """Takes one batch per source into the journal; returns the number of events."""
        batches = self._source.drain()
        for batch in batches:
            self._take(batch)
        return sum(len(batch.events) for batch in batches)

    def _take(self, batch: Batch) -> None:
        if not len(batch.events) and not batch.lost:
            return
        self._journal.write(batch)
        types = batch.events["type"]
        of_code = batch.events[(types == _EMIT) | (types == _PUBLISH)]
        for _, _, number, _, function, arguments in of_code.tolist():
            fields = event_type(number).fields(function, arguments)
            if number == _EMIT:
                self._codes.emitted(self.ram, fields)
            else:
                self._swaps += 1
                self._codes.published(fields["version"], fields["level"], fields["new"])
        if self._journal.records >= self._segment_records:
            self._next_segment()

    def _next_segment(self) -> None:
        self._journal.close()
        journal = self._journal.path
        self._conversion.add(journal, segments.segment_path(self.directory, self._segment))
        self._segment += 1
        self._journal = JournalWriter(journal_path(self.directory, self._segment))

    def _refresh_in_background(self) -> None:
        """Raises what the refresh before has raised; none is begun while that still runs."""
        if self._snapshot is not None:
            if not self._snapshot.done():
                return
            self._snapshot.result()
        self._snapshot = self._moments.submit(self._refresh)

    def _refresh(self) -> None:
        self._save_moment()
        # Of a source that only this recorder knows even a killed one has to say what it was.
        self._save_manifest("", tuple(self._source.counts()) if self._source.clock == HOST else ())

    def progress(self) -> Progress:
        """How far the recording is."""
        counts = self._source.counts()
        stock = "halted" if self._halted else "running"
        return Progress(
            seconds=time.monotonic() - self._began,
            events=sum(count.events for count in counts),
            lost=sum(count.lost for count in counts),
            missed=sum(count.missed for count in counts),
            swaps=self._swaps,
            left_out=sum(count.left_out for count in counts),
            stage=stock if self.moment.root is None else word("bf_boot_stage", stage_of(self.ram)),
        )

    def finish(self, waiting: Callable[[int], None] = lambda _: None) -> Manifest:
        """Takes what is left, gives the rings back, saves the last moment, converts the journals.

        `waiting` is told now and then how many segments are still to be written.
        """
        self._finished = True
        try:
            return self._finish(waiting)
        except OSError:
            self._give_up()
            raise
        finally:
            self._let_go()

    def _finish(self, waiting: Callable[[int], None]) -> Manifest:
        try:
            self._source.drain_all(self._take)
            self._next_segment()
            self._journal.close()
            self._journal.path.unlink()
            sources = tuple(self._source.counts())
        finally:
            self._source.__exit__(None, None, None)
        if self._snapshot is not None and not self._snapshot.cancel():
            self._snapshot.result()
        # Before the journals are converted, which may take a while: the guest runs on.
        self._save_moment()
        self._conversion.finish(waiting)
        (self.directory / RESERVE).unlink()
        return self._save_manifest(self._ended or "interrupted", sources, complete=True)

    def _save_moment(self) -> None:
        """Saves tables, code, symbols and serial output as they are now."""
        self._seconds = round(time.monotonic() - self._began, 3)
        with suppress(BareflowError):  # the guest has destroyed its root descriptor: the last readable tables count
            self.moment = self._read_moment()
        moment = self.moment
        for version in moment.versions:
            self._codes.listed(self.ram, version)
        self._codes.save()
        snapshot.save(self.ram, moment.ranges, self.directory)
        self._serial.seek(0)
        write_atomically(self.directory / "serial.log", self._serial.read(MAX_SERIAL))
        symbols = [dataclasses.asdict(symbol) for symbol in moment.symbols]
        write_atomically(self.directory / "symbols.json", json.dumps({"symbols": symbols}, indent=1))

    def _read_moment(self) -> Moment:
        return read_stock_moment(self._guest, self.moment) if self.moment.root is None else read_moment(self.ram)

    def _save_manifest(self, ended: str, sources: tuple[Source, ...], *, complete: bool = False) -> Manifest:
        """Describes the trace."""
        moment, root = self.moment, self.moment.root
        clock = self._source.clock or ("tsc" if self.machine.icount is None else "icount")
        manifest = Manifest(
            suite=metadata.version("bareflow-gdb"),
            machine=self.machine.name,
            started=self._started,
            seconds=self._seconds,
            complete=complete,
            ended=ended,
            clock=clock,
            tsc_hz=HOST_HZ if self._source.clock == HOST else moment.tsc_hz,
            abi=root.abi if root is not None else "",
            variant=moment.variant,
            build_id=root.build_id if root is not None else "",
            thresholds=moment.thresholds,
            functions=moment.functions,
            modules=moment.modules,
            sources=tuple(dataclasses.replace(source, clock=source.clock or clock) for source in sources),
            only=self._only,
            filter=self._wanted.words(),
            unmet=self._source.unmet() if complete and isinstance(self._source, Filtered) else (),
        )
        manifest.save(self.directory)
        return manifest
