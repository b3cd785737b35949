"""How is a BareFlow machine started, found, waited for and stopped?

A machine is a QEMU process, detached from the terminal, with a private directory: `machine.json gdb.sock
qmp.sock serial.log qemu.log` (the RAM file is where there is room for it).
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bareflow_gdb.errors import BadData, BareflowError, Unreachable, UsageError
from bareflow_gdb.memory.protocol import SCREEN_ADDRESS, SCREEN_BYTES
from bareflow_gdb.memory.qemu_ram import QemuRam
from bareflow_gdb.qemu import directory as places
from bareflow_gdb.qemu import progress, qmp
from bareflow_gdb.qemu.command import Wiring
from bareflow_gdb.qemu.process import Process, started_at
from bareflow_gdb.qemu.start import start

if TYPE_CHECKING:
    from bareflow_gdb.qemu.image import RootSettings

MODULES_DISK = "fat16.img"
STOP_SECONDS = 10.0


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
    def launch(
        cls,
        image: Path,
        *,
        name: str | None = None,
        directory: Path | None = None,
        memory_mib: int = 64,
        icount: int | None = None,
        paused: bool = False,
        settings: RootSettings | None = None,
        disk: Path | None = None,
        with_disk: bool = True,
        floppy: bool = False,
    ) -> Machine:
        """Starts QEMU on `image` and returns once it answers; the guest may not have run yet.

        name: found again by it (default vm1, vm2, …). directory: instead of the user's runtime directory.
        icount: virtual nanoseconds per instruction as a power of two; the TSC then counts instructions.
        settings: words of the root descriptor, set in a copy of the image.
        disk: the second disk; default is the disk of modules that was built beside the image, if there is one;
        with_disk=False: none, as with icount: a disk answers in the host's time, and runs would differ.
        Raises BareflowError.
        """
        beside = image.with_name(MODULES_DISK)
        if disk is None and with_disk and icount is None and beside.is_file():
            disk = beside
        for file in (image, disk):
            if file is not None and not file.is_file():
                raise UsageError(f"{file} is not there; `make firmware` builds the images")
        for machine in cls.stale():
            if machine.name == name:
                machine.clean()
        with ExitStack() as undo:
            if directory is not None:
                folder = _own_directory(directory, name)
            else:
                folder = places.claim(name)
                undo.callback(places.remove, folder)
            booted = _with_settings(image, settings, folder) if settings is not None else image.resolve()
            sockets = places.socket_directory(folder)
            undo.callback(places.remove_sockets, sockets, folder)
            ram = places.make_ram_file(folder, name or folder.name, memory_mib << 20)
            undo.callback(ram.unlink, missing_ok=True)
            wiring = Wiring(
                name=name or folder.name,
                image=booted,
                ram=ram,
                memory_mib=memory_mib,
                serial=folder / "serial.log",
                gdb_socket=sockets / "gdb.sock",
                qmp_socket=sockets / "qmp.sock",
                icount=icount,
                paused=paused,
                disk=disk.resolve() if disk else None,
                floppy=floppy,
            )
            child = start(wiring, folder / "qemu.log")
            undo.callback(child.wait)
            undo.callback(child.kill)
            machine = cls._started(wiring, folder, image.resolve(), child)
            places.write_record(folder, machine.record())
            undo.pop_all()
        return machine

    @classmethod
    def _started(cls, wiring: Wiring, folder: Path, image: Path, child: subprocess.Popen[bytes]) -> Machine:
        return cls(
            name=wiring.name,
            directory=folder,
            pid=child.pid,
            gdb_socket=wiring.gdb_socket,
            qmp_socket=wiring.qmp_socket,
            ram_path=wiring.ram,
            serial_path=wiring.serial,
            image=image,
            memory_mib=wiring.memory_mib,
            icount=wiring.icount,
            started=started_at(child.pid),
            created=time.time(),
            child=child,
        )

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
        raise Unreachable(
            f"no machine named {name} is running (running: {others}); `bareflow run` starts one"
        )

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
            return cls(
                name=str(record["name"]),
                directory=folder,
                pid=int(record["pid"]),
                gdb_socket=Path(record["gdb_socket"]),
                qmp_socket=Path(record["qmp_socket"]),
                ram_path=Path(record["ram"]),
                serial_path=Path(record["serial"]),
                image=Path(record["image"]),
                memory_mib=int(record["memory_mib"]),
                icount=record["icount"],
                started=record["started"],
                created=float(record["created"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise BadData(f"{folder / places.RECORD} is damaged ({error!r}); remove {folder}") from error

    def record(self) -> dict[str, Any]:
        """What machine.json holds."""
        return {
            "name": self.name,
            "pid": self.pid,
            "started": self.started,
            "created": self.created,
            "image": str(self.image),
            "memory_mib": self.memory_mib,
            "icount": self.icount,
            "gdb_socket": str(self.gdb_socket),
            "qmp_socket": str(self.qmp_socket),
            "ram": str(self.ram_path),
            "serial": str(self.serial_path),
        }

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
        self._require_alive()
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
        partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
        try:
            self.qmp("dump-guest-memory", paging=False, protocol=f"file:{partial}")
            partial.chmod(0o600)
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)

    def stage(self) -> int:
        """The last boot stage reached (enum bf_boot_stage), 0 before stage 1 ran."""
        return progress.stage(self)

    def wait_for_stage(self, stage: int | str, timeout: float = 60.0) -> None:
        """Waits until the boot record shows `stage` or a later one: a number, "idle", or "BF_STAGE_IDLE".

        Raises BareflowError when the time is over or the guest halts on the way, Unreachable when QEMU ends.
        """
        progress.wait_for_stage(self, stage, timeout)

    def wait_for_serial(self, text: str, timeout: float = 60.0) -> str:
        """Waits until COM1 has printed `text`; returns all that was printed. Raises like wait_for_stage."""
        return progress.wait_for_serial(self, text, timeout)

    def release(self, timeout: float = 60.0) -> bool:
        """Lets a guest that was launched with `hold` begin its run; False when it was not held."""
        return progress.release(self, timeout)

    def serial(self) -> str:
        """Everything that COM1 has printed so far."""
        try:
            return self.serial_path.read_text(encoding="latin-1")
        except FileNotFoundError:
            return ""

    def stop(self) -> None:
        """Ends QEMU and removes RAM, sockets and machine.json, in the user's runtime directory everything."""
        self.process.kill(signal.SIGTERM)
        if not self.process.wait(STOP_SECONDS):
            self.process.kill(signal.SIGKILL)
            if not self.process.wait(STOP_SECONDS):
                raise BareflowError(
                    f"machine {self.name} (process {self.pid}) does not end; it may hang in the kernel"
                )
        if self.child is not None:
            self.child.wait()
        self.clean()

    def clean(self) -> None:
        """Removes the files of a machine that has ended."""
        if self.alive():
            raise UsageError(f"machine {self.name} is running; `bareflow stop {self.name}` ends it")
        self.ram_path.unlink(missing_ok=True)
        places.remove_sockets(self.gdb_socket.parent, self.directory)
        places.remove_record(self.directory)
        if places.is_runtime(self.directory):
            places.remove(self.directory)

    def _require_alive(self) -> None:
        if not self.alive():
            raise Unreachable(
                f"QEMU of machine {self.name} has ended; its messages are in {self.directory}/qemu.log"
            )


def _with_settings(image: Path, settings: RootSettings, folder: Path) -> Path:
    from bareflow_gdb.qemu.image import patched_copy

    copy = folder / "disk.img"
    patched_copy(image, settings, copy)
    return copy


def _own_directory(folder: Path, name: str | None) -> Path:
    if name is not None:
        places.check_name(name)
    folder = places.private(folder.absolute())
    before = Machine.load(folder)
    if before is not None:
        before.clean()
    return folder
