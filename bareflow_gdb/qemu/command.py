"""Which QEMU command line makes a BareFlow machine?"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from bareflow_gdb.errors import BareflowError

EMULATOR = "qemu-system-i386"


@dataclass(frozen=True)
class Wiring:
    """Files and sockets of one machine, and how it runs."""

    name: str
    image: Path
    ram: Path
    memory_mib: int
    serial: Path
    gdb_socket: Path
    qmp_socket: Path
    icount: int | None = None
    paused: bool = False
    disk: Path | None = None
    floppy: bool = False
    cpu: str = ""
    """As QEMU names them; "" = its default."""


def emulator() -> str:
    """The path of QEMU; raises BareflowError when it is not installed."""
    found = shutil.which(EMULATOR)
    if found is None:
        raise BareflowError(f"{EMULATOR} is not installed; install Debian's package qemu-system-x86")
    return found


def command_line(wiring: Wiring) -> list[str]:
    """The words to run. The guest may reboot (a reboot loop must be seen); no window, no network.

    Disks are opened with `snapshot=on`: several machines may run one image, and none changes it.
    """
    size = f"{wiring.memory_mib}M"
    drive = f"file={_escape(wiring.image)},format=raw,index=0,snapshot=on"
    words = [
        emulator(),
        *("-name", f"guest={_escape(wiring.name)}"),
        *("-machine", "pc,memory-backend=ram"),
        *("-accel", "tcg"),
        *("-m", str(wiring.memory_mib)),
        *("-object", f"memory-backend-file,id=ram,size={size},mem-path={_escape(wiring.ram)},share=on"),
        *("-display", "none", "-vga", "std", "-nic", "none", "-no-user-config"),
        *("-chardev", f"file,id=serial0,path={_escape(wiring.serial)}", "-serial", "chardev:serial0"),
        *("-chardev", f"socket,id=gdb0,path={_escape(wiring.gdb_socket)},server=on,wait=off", "-gdb", "chardev:gdb0"),
        *("-chardev", f"socket,id=qmp0,path={_escape(wiring.qmp_socket)},server=on,wait=off"),
        *("-mon", "chardev=qmp0,mode=control"),
        *("-drive", f"{drive},if=floppy" if wiring.floppy else f"{drive},if=ide,media=disk"),
        *("-boot", "a" if wiring.floppy else "c"),
    ]
    if wiring.cpu:
        words += ["-cpu", wiring.cpu]
    if wiring.disk is not None:
        words += ["-drive", f"file={_escape(wiring.disk)},format=raw,index=1,snapshot=on,if=ide,media=disk"]
    if wiring.icount is not None:
        # With sleep=on a busy host makes the guest lose timer ticks (3 runs of 12), with sleep=off it does not
        # (0 of 44). The price: time races through `hlt`, and an idle guest keeps a host CPU busy.
        words += ["-icount", f"shift={wiring.icount},sleep=off", "-rtc", "base=2026-01-01,clock=vm"]
    if wiring.paused:
        words.append("-S")
    return words


def _escape(value: Path | str) -> str:
    # QEMU's option syntax ends a value at a comma; two commas are one.
    return str(value).replace(",", ",,")
