"""How is a running BareFlow machine found, asked, and stopped?

A machine is a QEMU process, detached from the terminal, with a private directory: `machine.json gdb.sock
qmp.sock serial.log qemu.log` (the RAM file is where there is room for it).
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bareflow_gdb.errors import BadData, BareflowError, Unreachable, UsageError
from bareflow_gdb.files import replacing
from bareflow_gdb.memory.protocol import SCREEN_ADDRESS, SCREEN_BYTES
from bareflow_gdb.memory.qemu_ram import QemuRam
from bareflow_gdb.qemu import directory as places
from bareflow_gdb.qemu import qmp
from bareflow_gdb.qemu.process import Process

STOP_SECONDS = 10.0


def _as_is(value: Any) -> Any:
    return value


# The words of machine.json: the field of Machine that each one is, and what makes it from JSON.
_RECORD: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "name": ("name", str),
    "pid": ("pid", int),
    "started": ("started", _as_is),
    "created": ("created", float),
    "image": ("image", Path),
    "memory_mib": ("memory_mib", int),
    "icount": ("icount", _as_is),
    "gdb_socket": ("gdb_socket", Path),
    "qmp_socket": ("qmp_socket", Path),
    "ram": ("ram_path", Path),
    "serial": ("serial_path", Path),
}


@dataclass
class Machine:
    """A machine that runs, or did when this object was made."""

    name: str
    directory: Path
    pid: int
    gdb_socket: Path
    qmp_socket: Path
    ram_path: Path
    serial_path: Path
    image: Path
    memory_mib: int = 64
    icount: int | None = None
    started: str | None = None
    created: float = 0.0
    process: Process = field(init=False, repr=False, compare=False)
    # Kept so that the ended child is reaped, and no zombie stays while the launching program lives.
    child: subprocess.Popen[bytes] | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.process = Process(self.pid, self.started)

    @classmethod
    def find(cls, name: str | None) -> Machine:
        """The running machine of this name; without a name the newest. Raises Unreachable."""
        running = cls.all()
        if name is None:
            if not running:
                raise Unreachable("no machine is running; `bareflow run` starts one")
            return max(running, key=lambda machine: machine.created)
        for machine in running:
            if machine.name == name:
                return machine
        others = ", ".join(machine.name for machine in running) or "none"
        raise Unreachable(f"no machine named {name} is running (running: {others}); `bareflow run` starts one")

    @staticmethod
    def all() -> list[Machine]:
        """The running machines of this user, oldest first."""
        found = (Machine.load(folder) for folder in places.folders())
        running = [machine for machine in found if machine is not None and machine.alive()]
        return sorted(running, key=lambda machine: machine.created)

    @staticmethod
    def stale() -> list[Machine]:
        """Machines whose QEMU has ended by itself, their files still there; `clean` removes those."""
        found = (Machine.load(folder) for folder in places.folders())
        return [machine for machine in found if machine is not None and not machine.alive()]

    @classmethod
    def load(cls, folder: Path) -> Machine | None:
        """The machine whose directory this is, None when machine.json is not there (it is still starting)."""
        record = places.read_record(folder)
        if record is None:
            return None
        try:
            return cls(directory=folder, **{field: kind(record[key]) for key, (field, kind) in _RECORD.items()})
        except (KeyError, TypeError, ValueError) as error:
            raise BadData(f"{folder / places.RECORD} is damaged ({error!r}); remove {folder}") from error

    def record(self) -> dict[str, Any]:
        """What machine.json holds."""
        values = {key: getattr(self, field) for key, (field, _) in _RECORD.items()}
        return {key: str(value) if isinstance(value, Path) else value for key, value in values.items()}

    def alive(self) -> bool:
        """True while its QEMU runs."""
        if self.child is not None:
            self.child.poll()
        return self.process.alive()

    def memory(self) -> QemuRam:
        """Its RAM, readable and writable while the guest runs."""
        return QemuRam(self.ram_path, screen=self.read_screen, monitor=self.monitor, alive=self.process.alive)

    def qmp(self, command: str, **arguments: Any) -> Any:
        """The answer to one QMP command; an underscore in an argument's name stands for a dash."""
        if not self.alive():
            log = self.directory / places.LOG
            raise Unreachable(f"QEMU of machine {self.name} has ended; its messages are in {log}")
        named = {key.replace("_", "-"): value for key, value in arguments.items()}
        return qmp.execute(self.qmp_socket, [(command, named)], who=f"machine {self.name}")[0]

    def pause(self) -> None:
        """Stops the virtual CPU; its clocks stand still."""
        self.qmp("stop")

    def resume(self) -> None:
        """Lets the virtual CPU run on."""
        self.qmp("cont")

    def status(self) -> str:
        """QEMU's word for it: "running", "paused", "prelaunch", "shutdown", …"""
        return str(self.qmp("query-status")["status"])

    def read_physical(self, address: int, size: int) -> bytes:
        """Bytes by QMP `pmemsave`: slower than `memory()`, but it sees the screen too."""
        path = self.directory / f".pmem-{os.getpid()}-{time.monotonic_ns()}"
        try:
            self.qmp("pmemsave", val=address, size=size, filename=str(path))
            return path.read_bytes()
        finally:
            path.unlink(missing_ok=True)

    def read_screen(self) -> bytes:
        """The 4,000 bytes of VGA text."""
        return self.read_physical(SCREEN_ADDRESS, SCREEN_BYTES)

    def monitor(self, command: str) -> str:
        """What QEMU's own monitor answers, for what QMP has no words for: registers, interrupt controller."""
        return str(self.qmp("human-monitor-command", command_line=command))

    def dump_core(self, path: Path) -> None:
        """Writes an ELF core of RAM and registers; `path` appears only when it is complete."""
        target = path.resolve()
        if not target.parent.is_dir():
            raise UsageError(f"{target.parent} is not a directory; make it first")
        with replacing(target) as partial:
            self.qmp("dump-guest-memory", paging=False, protocol=f"file:{partial}")

    def serial(self) -> str:
        """What COM1 has printed so far, as far as it can be read."""
        try:
            return self.serial_path.read_text(encoding="latin-1")
        except OSError:
            return ""

    def stop(self) -> None:
        """Ends QEMU and removes RAM, sockets and machine.json, in the user's runtime directory everything."""
        self.process.kill(signal.SIGTERM)
        if not self.process.wait(STOP_SECONDS):
            self.process.kill(signal.SIGKILL)
            if not self.process.wait(STOP_SECONDS):
                raise BareflowError(f"machine {self.name} (process {self.pid}) does not end; it may hang in the kernel")
        if self.child is not None:
            self.child.wait()
        self.clean()

    def clean(self) -> None:
        """Removes the files of a machine that has ended."""
        if self.alive():
            raise UsageError(f"machine {self.name} is running; `bareflow stop {self.name}` ends it")
        self.ram_path.unlink(missing_ok=True)
        places.remove_sockets(self.gdb_socket.parent, self.directory)
        (self.directory / places.RECORD).unlink(missing_ok=True)
        if places.is_runtime(self.directory):
            places.remove(self.directory)
