"""How is a running BareFlow machine found, asked, and stopped?

A machine is a QEMU process, detached from the terminal, with a private directory: `machine.json gdb.sock
qmp.sock serial.log qemu.log` (the RAM file is where there is room for it).
"""

from __future__ import annotations

import errno
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bareflow_gdb.errors import BadData, BareflowError, CannotWrite, Unreachable, UsageError
from bareflow_gdb.files import replacing
from bareflow_gdb.foreign import console_of
from bareflow_gdb.memory.protocol import SCREEN_ADDRESS, SCREEN_BYTES, Range
from bareflow_gdb.memory.qemu_ram import QemuRam
from bareflow_gdb.qemu import directory as places
from bareflow_gdb.qemu import leftovers, qmp, thin_core
from bareflow_gdb.qemu.process import Process
from bareflow_gdb.small_files import read_end

STOP_SECONDS = 10.0
MOST_SERIAL = 64 << 20
SERIAL_END = 1 << 16


def _as_is(value: Any) -> Any:
    return value


def _path(value: Any) -> Path:
    """Raises ValueError for what no file can be named."""
    text = os.fsencode(str(value))
    if b"\0" in text:
        raise ValueError("a path with a NUL")
    return Path(os.fsdecode(text))


def _name(value: Any) -> str:
    """Raises ValueError for what `run` would not take."""
    if not isinstance(value, str) or not places.NAME.fullmatch(value):
        raise ValueError(f"{value!r} names no machine")
    return value


def _pid(value: Any) -> int:
    if not 0 < int(value) < 1 << 31:
        raise ValueError(f"{value!r} is no process")
    return int(value)


def _finite(value: Any) -> float:
    """Raises ValueError for what is no time."""
    if not 0 <= float(value) < 1 << 40:
        raise ValueError(f"{value!r} seconds")
    return float(value)


# The words of machine.json: the field of Machine that each one is, and what makes it from JSON.
_RECORD: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "name": ("name", _name),
    "pid": ("pid", _pid),
    "started": ("started", _as_is),
    "created": ("created", _finite),
    "image": ("image", _path),
    "memory_mib": ("memory_mib", int),
    "icount": ("icount", _as_is),
    "gdb_socket": ("gdb_socket", _path),
    "qmp_socket": ("qmp_socket", _path),
    "ram": ("ram_path", _path),
    "serial": ("serial_path", _path),
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
                raise Unreachable(f"no machine is running{cls._ended()}; `bareflow run` starts one")
            return max(running, key=lambda machine: machine.created)
        for machine in running:
            if machine.name == name:
                return machine
        if any(left.name == name for left in leftovers.leftovers()):
            raise Unreachable(f"the directory of machine {name} is gone; `bareflow list` shows what is left of it")
        if any(machine.name == name for machine in cls.stale()):
            raise Unreachable(f"QEMU of machine {name} has ended; `bareflow list` shows how, `bareflow run` starts one")
        damaged = next((why for other, why in cls.damaged() if other == name), "")
        if damaged:
            raise Unreachable(f"{damaged}; `{shlex.join(('bareflow', 'stop', name))}` does that")
        others = ", ".join(machine.name for machine in running) or "none"
        raise Unreachable(f"no machine named {name} is running (running: {others}); `bareflow run` starts one")

    @classmethod
    def _ended(cls) -> str:
        """Whose machine is gone looks for it."""
        names = ", ".join(machine.name for machine in cls.stale())
        return f" ({names}: QEMU has ended, `bareflow list` shows how)" if names else ""

    @staticmethod
    def all() -> list[Machine]:
        """The running machines of this user, oldest first."""
        running = [machine for machine in _loaded() if machine.alive()]
        return sorted(running, key=lambda machine: machine.created)

    @staticmethod
    def stale() -> list[Machine]:
        """Machines whose QEMU has ended by itself, their files still there; `clean` removes those."""
        return [machine for machine in _loaded() if not machine.alive()]

    @staticmethod
    def damaged() -> list[tuple[str, str]]:
        """Names of directories that hold no machine that can be right, and why; `remove_damaged` removes one."""
        found = []
        for folder in places.folders():
            try:
                Machine.load(folder)
            except BareflowError as error:
                found.append((folder.name, str(error)))
        return found

    @staticmethod
    def remove_damaged(name: str) -> None:
        """Ends the QEMU that runs in this directory, if one does, and removes the directory, and nothing that it
        names."""
        folder = places.root() / places.check_name(name)
        if not leftovers.is_owned_folder(folder):
            raise BareflowError(f"{folder} is not a directory of yours; ask its owner to remove it")
        for left in leftovers.running_in(folder):
            left.remove()
        places.remove(folder)

    @classmethod
    def load(cls, folder: Path) -> Machine | None:
        """The machine whose directory this is, None when machine.json is not there (it is still starting)."""
        record = places.read_record(folder)
        if record is None:
            return None
        if not leftovers.is_owned_folder(folder):
            raise BadData(f"{folder} is not a directory of yours; ask its owner to remove it")
        try:
            return cls(directory=folder, **{field: kind(record[key]) for key, (field, kind) in _RECORD.items()})
        except KeyError as error:
            raise BadData(f"{folder / places.RECORD} is damaged ({error} is missing); remove {folder}") from error
        except (TypeError, ValueError, OverflowError, OSError) as error:
            raise BadData(f"{folder / places.RECORD} is damaged ({error}); remove {folder}") from error

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
        answer = self.qmp("query-status")
        word = answer.get("status") if isinstance(answer, dict) else None
        if not isinstance(word, str) or not word.isprintable():
            raise Unreachable(f"QEMU of machine {self.name} does not say how it is; look at `bareflow list`")
        return word

    def read_physical(self, address: int, size: int) -> bytes:
        """Bytes by QMP `pmemsave`: slower than `memory()`, but it sees the screen too."""
        path = self.directory / f".pmem-{os.getpid()}-{time.monotonic_ns()}"
        try:
            self.qmp("pmemsave", val=address, size=size, filename=str(path))
            data = path.read_bytes()
        except OSError as error:
            raise Unreachable(f"QEMU of machine {self.name} wrote no memory to its file; ask again") from error
        finally:
            path.unlink(missing_ok=True)
        if len(data) != size:
            # It tells nobody that its writes failed.
            raise Unreachable(
                f"QEMU of machine {self.name} wrote {len(data):,} of {size:,} bytes of memory into {self.directory}; "
                "make room there"
            )
        return data

    def read_screen(self) -> bytes:
        """The 4,000 bytes of VGA text."""
        return self.read_physical(SCREEN_ADDRESS, SCREEN_BYTES)

    def monitor(self, command: str) -> str:
        """What QEMU's own monitor answers, for what QMP has no words for: registers, interrupt controller."""
        return str(self.qmp("human-monitor-command", command_line=command))

    def dump_core(self, path: Path) -> Range | None:
        """Writes an ELF core of RAM and registers; `path` appears only when it is complete.

        Returns where a model's weights lie that are not in it.
        """
        target = path.resolve()
        if not target.parent.is_dir():
            raise UsageError(f"{target.parent} is not a directory; make it first")
        try:
            # QMP is JSON: the name's bytes have to be UTF-8, whatever this program's locale makes of them.
            os.fsencode(target).decode("utf-8")
        except UnicodeDecodeError as error:
            raise UsageError(f"QEMU takes only file names that are UTF-8, {target} is not; give another") from error
        with replacing(target) as partial:
            try:
                self.qmp("dump-guest-memory", paging=False, protocol=f"file:{os.fsencode(partial).decode('utf-8')}")
            except qmp.Refused as error:
                raise _not_written(path, error) from error
            if not partial.stat().st_size:
                raise Unreachable(f"QEMU of machine {self.name} said that it wrote a core, and did not; ask again")
            left = thin_core.weights(self.memory())
            return left if left is not None and thin_core.leave_out(partial, left) else None

    def serial(self) -> str:
        """What COM1 has printed so far, as far as it can be read."""
        try:
            # machine.json names it, which could be a device without end.
            if not self.serial_path.is_file():
                return ""
            with self.serial_path.open("rb") as file:
                return console_of(file.read(MOST_SERIAL))
        except OSError:
            return ""

    def last_serial_line(self) -> str:
        """What COM1 printed last, of a log of any length; "" = nothing."""
        try:
            end = read_end(self.serial_path, SERIAL_END) if self.serial_path.is_file() else b""
        except (OSError, ValueError):
            return ""
        return next((line.strip() for line in reversed(console_of(end).splitlines()) if line.strip()), "")

    def stop(self) -> None:
        """Ends QEMU and removes RAM, sockets and machine.json, in the user's runtime directory everything."""
        if not leftovers.is_emulator(self.pid):
            self.process = Process(self.pid, "not QEMU")  # whatever machine.json says
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
        leftovers.remove_ram(self.ram_path, self.directory)
        leftovers.remove_sockets(self.gdb_socket.parent, self.directory)
        (self.directory / places.RECORD).unlink(missing_ok=True)
        if places.is_runtime(self.directory):
            places.remove(self.directory)


def _not_written(path: Path, error: BareflowError) -> BareflowError:
    """QEMU passes on in words what the system told it."""
    told = next((number for number in errno.errorcode if os.strerror(number) in str(error)), 0)
    return CannotWrite(path, OSError(told, "")) if told else BareflowError(f"{path} was not written: {error}")


def _loaded() -> Iterator[Machine]:
    """The machines of this user; a directory that is damaged is nobody's reason not to see the others."""
    for folder in places.folders():
        with suppress(BareflowError):
            machine = Machine.load(folder)
            if machine is not None:
                yield machine
