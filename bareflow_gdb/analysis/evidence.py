"""What is a report made from: events of a trace, the memory of a guest, what was printed on COM1?"""

from __future__ import annotations

from dataclasses import dataclass, replace

from bareflow_gdb.checks.subject import Subject
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.guest.kernel import Kernel
from bareflow_gdb.guest.machine.serial import Serial
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.tracing.store import Trace

EVENTS, MEMORY, LOG = "events", "memory", "serial log"


@dataclass(frozen=True)
class Evidence:
    """The sources of one report; at least one is there."""

    title: str
    """What is reported on: "trace of demo", "core night.core"."""
    guest: Guest | None = None
    """The guest's memory."""
    no_guest: str = ""
    """Why there is none, where one is missed."""
    memory_from: str = ""
    trace: Trace | None = None
    machine: Machine | None = None
    serial: Serial | None = None
    serial_from: str = ""

    def kernel(self) -> Kernel:
        """The kernel in memory. Raises BareflowError."""
        if self.guest is None:
            raise BareflowError(self.no_guest or "holds no guest memory")
        return self.guest.kernel()

    def subject(self) -> Subject:
        """What checks look at."""
        serial = self.serial
        printed = None if serial is None else lambda: serial.text
        return Subject(self.kernel, machine=self.machine, serial=printed, trace=self.trace)

    def printed(self, log: Evidence) -> Evidence:
        """The same with what another source says was printed."""
        serial = log.serial
        if self.guest is not None and serial is not None:
            self.guest.serial_log = lambda: serial.text
        return replace(self, serial=serial, serial_from=log.serial_from)

    def sources(self) -> dict[str, str]:
        """What there is, by its kind, and where it comes from."""
        there = (
            (EVENTS, self.trace is not None and f"the trace in {self.trace.directory.name}"),
            (MEMORY, self.guest is not None and self.memory_from),
            (LOG, self.serial is not None and self.serial_from),
        )
        return {kind: where for kind, where in there if where}


def of_trace(trace: Trace) -> Evidence:
    """All that a trace holds. Raises BadData."""
    serial = trace.serial()
    try:
        guest, why = Guest.attach(trace.memory(), trace.symbols), ""
        guest.serial_log = lambda: serial
    except BareflowError as error:
        guest, why = None, str(error)
    return Evidence(
        title=f"trace of {trace.manifest.machine}",
        guest=guest,
        no_guest=why,
        memory_from="the trace's snapshot of the last moment",
        trace=trace,
        serial=Serial("file", serial, len(serial), 0),
        serial_from="serial.log of the trace",
    )
