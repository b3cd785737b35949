"""How are all swaps of a guest seen that has no event ring? By write watchpoints on its code pointers.

The guest stops at each publishing store, is looked at through its RAM, and goes on: a millisecond or so for each swap,
nothing in between but that the pages of the pointers are slower. Works by QEMU's gdbstub, so not beside a gdb.

A kernel keeps its table where it likes, a stock one on its stack. Where the table is not there yet it is caught as the
argument of the function that gets it, by the kernel's ELF; without an ELF it is searched for now and then while the
guest runs, and what was swapped before it was found is told as missed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from bareflow_gdb.errors import BareflowError, Unreachable
from bareflow_gdb.guest.names.elf import load_elf
from bareflow_gdb.guest.pointers import Pointers
from bareflow_gdb.guest.stock.places import ARGUMENTS, cpu_of_packet
from bareflow_gdb.guest.stock.search import JIT
from bareflow_gdb.guest.stock.window import END, LOWEST
from bareflow_gdb.memory.stub_control import EXECUTE, StubControl
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.tracing.events import Batch
from bareflow_gdb.tracing.manifest import HOST, Source
from bareflow_gdb.tracing.source import Seen

RING = 16
"""The number by which its events name this source: no kernel has so many rings."""
_WAIT_SECONDS = 0.02
_SEARCH_SECONDS = 0.2
_STOPPED = "T05"
CAUGHT = tuple(name for name, kind in ARGUMENTS.items() if kind == JIT)


def names_of(files: Iterable[Path]) -> Iterator[Mapping[str, int]]:
    """The addresses by name in each ELF file that can be read."""
    for path in files:
        with suppress(BareflowError):
            yield load_elf(path).symbols.by_name


class Watch:
    """Watchpoints on the code pointers of one machine. A context manager; the guest stops when it is entered."""

    clock = HOST

    def __init__(
        self, machine: Machine, pointers: Pointers, names: Callable[[], Iterable[Mapping[str, int]]] = tuple
    ) -> None:
        """`names`: addresses by name in each file that may be the kernel's ELF."""
        self._machine = machine
        self._pointers = pointers
        self._names = names
        self._seen = Seen(RING, pointers)
        self._control: StubControl | None = None
        self._stops = 0
        self._search = 0.0
        self._returns = False
        self._held = False
        """Somebody has paused the guest: it is theirs to let it go."""
        self._found = ""

    def require_free(self) -> None:
        """Whether a gdb is connected is seen when it is entered: asking would stop the guest."""

    def __enter__(self) -> Watch:
        self._held = self._machine.status() != "running"
        self._control = StubControl(self._machine.gdb_socket)
        try:
            self._begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _begin(self) -> None:
        self._seen.begin()
        if self._pointers.address:
            self._found = "known from the beginning"
            self._watch()
        else:
            self._catch()
        if not self._held:
            self._stub.go()

    def __exit__(self, *_: object) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
            if self._held:
                with suppress(BareflowError):
                    self._machine.pause()

    @property
    def _stub(self) -> StubControl:
        assert self._control is not None
        return self._control

    def let_go(self) -> None:
        """Lets a guest run that was paused when the recording began, or since."""
        if self._held and not self._taken_up():
            self._held = False
            self._stub.go()

    def _catch(self) -> None:
        """Stops at the functions that get the table as their argument, where the ELF says where they are."""
        places = {names[name] for names in self._names() for name in CAUGHT if name in names}
        for address in places:
            self._stub.watch(address, EXECUTE)

    def _caught(self) -> None:
        """At the entry of such a function: its first argument is the table, which is not made before it returns."""
        cpu = cpu_of_packet(self._stub.registers())
        if cpu is None or not cpu.protected:
            return
        try:
            back, table = (self._pointers.memory.read(cpu.esp + 4 * at, 4, "argument") for at in (0, 1))
        except BareflowError:
            return
        address = int.from_bytes(table, "little")
        if address % 4 or not LOWEST <= address < END:
            return
        self._pointers.told(address)
        self._found = "caught as an argument, before any function was registered"
        self._stub.unwatch(EXECUTE)
        self._stub.watch(int.from_bytes(back, "little"), EXECUTE)
        self._returns = True

    def _watch(self) -> None:
        """Watches every pointer, and the number of functions, which tells when there is a new one."""
        look = self._pointers.look()
        self._stub.watch(self._pointers.count_at)
        for index in range(len(look.codes) if look is not None else 0):
            self._stub.watch(self._pointers.slot(index))

    def drain(self) -> Sequence[Batch]:
        try:
            return self._drain()
        except Unreachable:
            if self._machine.alive():
                raise
            # The recorder sees that QEMU has ended.
            return self._seen.batch()

    def _drain(self) -> Sequence[Batch]:
        if not self._stub.runs:
            self._while_held()
            return self._seen.batch()
        report = self._stub.stopped(_WAIT_SECONDS)
        if report is None:
            if not self._pointers.address and time.monotonic() >= self._search:
                self._find()
            self._seen.count()
            return self._seen.batch()
        if report[:1] in "WX":
            # QEMU says that the guest has ended; the recorder sees it by its process.
            return self._seen.batch()
        if not report.startswith(_STOPPED):
            self._held = True
            return self._seen.batch()
        self._stopped()
        self._stub.go()
        return self._seen.batch()

    def _stopped(self) -> None:
        self._stops += 1
        if not self._pointers.address:
            self._caught()
        else:
            if self._returns:
                self._returns = False
                self._stub.unwatch(EXECUTE)
            self._seen.look(still=True)
            self._watch()

    def _find(self) -> None:
        """Looks for the table while the guest runs; what it did before that is not known."""
        found = self._pointers.find()
        self._search = time.monotonic() + _SEARCH_SECONDS
        if found:
            self._found = "found by a search while the guest ran, what it had done before is not among the events"
            self._stub.stop()
            self._seen.look()
            self._stub.unwatch(EXECUTE)
            self._watch()
            self._stub.go()

    def _while_held(self) -> None:
        """Somebody else has stopped the guest: waits until they let it go, and takes it up from there."""
        time.sleep(_WAIT_SECONDS)
        with suppress(BareflowError):
            self._taken_up()

    def _taken_up(self) -> bool:
        """Has somebody let it go? Then it is as after any other stop."""
        if self._machine.status() not in ("running", "debug"):
            return False
        self._held = False
        self._stub.resumed()
        self._stub.stop()
        self._stopped()
        self._stub.go()
        return True

    def drain_all(self, take: Callable[[Batch], None]) -> None:
        """Stops the guest for it, so that nothing comes after."""
        with suppress(BareflowError):
            self._stub.stop()
        if self._pointers.address:
            self._seen.look()
            self._seen.count(0)
        for batch in self._seen.batch():
            take(batch)

    @property
    def restarted(self) -> bool:
        """The guest has fewer functions than before."""
        return self._seen.restarted

    @property
    def nearly_empty(self) -> bool:
        """It waits by itself, so that a guest that has stopped goes on at once."""
        return False

    def counts(self) -> list[Source]:
        how = f"each publishing store stopped the guest ({self._stops:,} stops)"
        return [self._seen.account("watch", f"{how}; its table was {self._found or 'not there yet'}")]
