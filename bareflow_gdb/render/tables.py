"""How does each answer look as text? One function per question, the same for gdb and the command line.

`color` asks for ANSI colours (and needs rich); without it the text is plain and fixed-width.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bareflow_gdb.render import detail_views, machine_views, views
from bareflow_gdb.render.screen import screen_text
from bareflow_gdb.render.text import coloured, plain

if TYPE_CHECKING:
    from bareflow_gdb.guest.boot.boot import Boot
    from bareflow_gdb.guest.code.bitcode_report import BitcodeReport
    from bareflow_gdb.guest.code.cache import Cache
    from bareflow_gdb.guest.code.jit import Jit
    from bareflow_gdb.guest.code.profiler import Profile
    from bareflow_gdb.guest.code.swaps import Swaps
    from bareflow_gdb.guest.machine.cpu import Cpu
    from bareflow_gdb.guest.machine.disk import Disk
    from bareflow_gdb.guest.machine.exception import ExceptionRecord
    from bareflow_gdb.guest.machine.fat16 import FatContent
    from bareflow_gdb.guest.machine.irq import Irq
    from bareflow_gdb.guest.machine.log import Log
    from bareflow_gdb.guest.machine.screen import Screen
    from bareflow_gdb.guest.machine.serial import Serial
    from bareflow_gdb.guest.machine.stack import Stack
    from bareflow_gdb.guest.modules.header import HeaderReport
    from bareflow_gdb.guest.modules.modules import Modules
    from bareflow_gdb.guest.names.identify import Identity
    from bareflow_gdb.guest.pools.block import BlockReport
    from bareflow_gdb.guest.pools.pools import Pools
    from bareflow_gdb.guest.status import Status
    from bareflow_gdb.render.view import View

WIDTH = 140


def show(view: View, width: int = WIDTH, color: bool = False) -> str:
    """A view as text, no newline at the end."""
    return coloured(view, width) if color else plain(view)


def status(record: Status, width: int = WIDTH, color: bool = False) -> str:
    """Where the guest is, what is wrong, what next."""
    return show(views.status_view(record), width, color)


def boot(record: Boot, width: int = WIDTH, color: bool = False) -> str:
    """Boot stages and what was loaded."""
    return show(views.boot_view(record), width, color)


def modules(record: Modules, width: int = WIDTH, color: bool = False) -> str:
    """Modules and their headers."""
    return show(views.modules_view(record), width, color)


def pools(record: Pools, width: int = WIDTH, color: bool = False) -> str:
    """Pools: statistics, picture, blocks."""
    return show(views.pools_view(record), width, color)


def profile(record: Profile, width: int = WIDTH, color: bool = False) -> str:
    """The function profile."""
    return show(views.profile_view(record), width, color)


def jit(record: Jit, width: int = WIDTH, color: bool = False) -> str:
    """Functions of the adaptive JIT and their versions."""
    return show(views.jit_view(record), width, color)


def swaps(record: Swaps, width: int = WIDTH, color: bool = False) -> str:
    """Code swaps in the order of time."""
    return show(views.swaps_view(record), width, color)


def identify(record: Identity, width: int = WIDTH, color: bool = False) -> str:
    """One address in words."""
    return show(views.identity_view(record), width, color)


def exception(record: ExceptionRecord, width: int = WIDTH, color: bool = False) -> str:
    """The last exception."""
    return show(views.exception_view(record), width, color)


def log(record: Log, width: int = WIDTH, color: bool = False) -> str:
    """What was printed on COM1."""
    return show(views.log_view(record), width, color)


def header(record: HeaderReport, width: int = WIDTH, color: bool = False) -> str:
    """A module header."""
    return show(detail_views.header_view(record), width, color)


def bitcode(record: BitcodeReport, width: int = WIDTH, color: bool = False) -> str:
    """A function's bitcode."""
    return show(detail_views.bitcode_view(record), width, color)


def block(record: BlockReport, width: int = WIDTH, color: bool = False) -> str:
    """A pool block."""
    return show(detail_views.block_view(record), width, color)


def cache(record: Cache, width: int = WIDTH, color: bool = False) -> str:
    """The cache of module images."""
    return show(detail_views.cache_view(record), width, color)


def cpu(record: Cpu, width: int = WIDTH, color: bool = False) -> str:
    """The CPU and its descriptor tables."""
    return show(machine_views.cpu_view(record), width, color)


def irq(record: Irq, width: int = WIDTH, color: bool = False) -> str:
    """The interrupt lines."""
    return show(machine_views.irq_view(record), width, color)


def stack(record: Stack, width: int = WIDTH, color: bool = False) -> str:
    """The callers."""
    return show(machine_views.stack_view(record), width, color)


def disk(record: Disk, width: int = WIDTH, color: bool = False) -> str:
    """The FAT16 disk."""
    return show(machine_views.disk_view(record), width, color)


def fat_content(record: FatContent, width: int = WIDTH, color: bool = False) -> str:
    """A file of the FAT16 disk."""
    return show(machine_views.fat_content_view(record), width, color)


def serial(record: Serial, width: int = WIDTH, color: bool = False) -> str:
    """Serial output."""
    return show(machine_views.serial_view(record), width, color)


def screen(record: Screen, width: int = WIDTH, color: bool = False) -> str:  # noqa: ARG001 - as all have
    """The guest's screen."""
    return screen_text(record, color)
