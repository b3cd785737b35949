"""How is a machine started: QEMU, detached, on a boot disk?"""

from __future__ import annotations

import re
import socket
import subprocess
import time
from contextlib import ExitStack
from pathlib import Path

from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.files import private_opener
from bareflow_gdb.qemu import directory as places
from bareflow_gdb.qemu import leftovers, qmp
from bareflow_gdb.qemu.command import EMULATOR, Wiring, command_line
from bareflow_gdb.qemu.image import RootSettings, patched_copy
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.qemu.process import started_at

MODULES_DISK = "fat16.img"
START_SECONDS = 30.0
CPU_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=,-]{0,99}")
POLL_SECONDS = 0.005


def launch(
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
    cpu: str = "",
) -> Machine:
    """Starts QEMU on `image` and returns once it answers; the guest may not have run yet.

    name: found again by it (default vm1, vm2, …). directory: instead of the user's runtime directory.
    icount: virtual nanoseconds per instruction as a power of two; the TSC then counts instructions.
    settings: words of the root descriptor, set in a copy of the image.
    disk: the second disk; default is the disk of modules that was built beside the image, if there is one;
    cpu: as QEMU names them (max, pentium3, …), "" = its default, qemu32.
    with_disk=False: none, as with icount: a disk answers in the host's time, and runs would differ.
    Raises BareflowError.
    """
    disk = second_disk(image, disk, with_disk=with_disk, icount=icount)
    for file in (image, disk):
        if file is not None and file.exists() and not file.is_file():
            raise UsageError(f"{file} is not a file; give a disk image")
        if file is not None and not file.is_file():
            raise UsageError(f"{file} is not there; `make firmware` builds the images")
    if cpu and not CPU_NAME.fullmatch(cpu):
        raise UsageError(f"{cpu!r} is not a CPU; `{EMULATOR} -cpu help` lists those that there are")
    for machine in Machine.stale():
        if machine.name == name:
            machine.clean()
    with ExitStack() as undo:
        if directory is not None:
            folder = _own_directory(directory, name)
        else:
            folder = places.claim(name)
            undo.callback(places.remove, folder)
        booted = image.resolve()
        if settings is not None:
            booted = folder / "disk.img"
            patched_copy(image, settings, booted)
        sockets = places.socket_directory(folder)
        undo.callback(leftovers.remove_sockets, sockets, folder)
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
            cpu=cpu,
        )
        child = _start(wiring, folder)
        undo.callback(child.wait)
        undo.callback(child.kill)
        machine = Machine(
            name=wiring.name,
            directory=folder,
            pid=child.pid,
            gdb_socket=wiring.gdb_socket,
            qmp_socket=wiring.qmp_socket,
            ram_path=wiring.ram,
            serial_path=wiring.serial,
            image=image.resolve(),
            memory_mib=memory_mib,
            icount=icount,
            started=started_at(child.pid),
            created=time.time(),
            child=child,
        )
        places.write_record(folder, machine.record())
        undo.pop_all()
    return machine


def second_disk(image: Path, disk: Path | None, *, with_disk: bool = True, icount: int | None = None) -> Path | None:
    """The disk that `launch` would give the machine beside its boot disk."""
    beside = image.parent / MODULES_DISK
    return beside if disk is None and with_disk and icount is None and beside.is_file() else disk


def _own_directory(folder: Path, name: str | None) -> Path:
    if name is not None:
        places.check_name(name)
    folder = places.private(folder.absolute())
    before = Machine.load(folder)
    if before is not None:
        before.clean()
    return folder


def _start(wiring: Wiring, folder: Path) -> subprocess.Popen[bytes]:
    """QEMU in its own session; returns once it answers on QMP. Raises BareflowError."""
    with open(folder / places.LOG, "wb", opener=private_opener) as messages:
        child = subprocess.Popen(
            command_line(wiring),
            stdin=subprocess.DEVNULL,
            stdout=messages,
            stderr=messages,
            start_new_session=True,
            umask=0o077,
            cwd="/",
        )
    try:
        _wait_until_it_answers(child, wiring)
    except BaseException as error:
        # Also at Ctrl-C: nobody else knows of this process yet.
        child.kill()
        child.wait()
        if isinstance(error, BareflowError):
            raise BareflowError(f"QEMU did not start: {places.qemu_messages(folder) or error}") from error
        raise
    return child


def _wait_until_it_answers(child: subprocess.Popen[bytes], wiring: Wiring) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not (_listens(wiring.qmp_socket) and wiring.gdb_socket.exists() and wiring.serial.exists()):
        if child.poll() is not None:
            raise BareflowError(f"exit code {child.returncode}")
        if time.monotonic() > deadline:
            raise BareflowError(f"it did not open its sockets within {START_SECONDS:g} s")
        time.sleep(POLL_SECONDS)
    # QEMU opens its sockets before it looks at some of its options.
    qmp.execute(wiring.qmp_socket, [("query-status", {})], who=f"machine {wiring.name}")


def _listens(path: Path) -> bool:
    # Between QEMU's bind and its listen the file is there and connections are refused.
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return False
    return True
