"""Which names has gdb for a guest's kernel and modules, for answers and for completion?"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import gdb

from bareflow_gdb.errors import BareflowError

if TYPE_CHECKING:
    from bareflow_gdb.gdb_ui.session import Session
    from bareflow_gdb.guest.guest import Guest


def named_guest(session: Session) -> Guest:
    """The guest, with the kernel's functions by the ELF that gdb has, else by the one beside the image."""
    guest = session.guest
    for elf in _candidates(session):
        try:
            if guest.name_kernel(elf):
                break
        except BareflowError as error:
            session.say(str(error))
    return guest


def _candidates(session: Session) -> Iterable[Path]:
    from bareflow_gdb.guest.names.kernel_symbols import beside

    loaded = gdb.current_progspace().filename
    if loaded:
        yield Path(loaded)
    if session.machine is not None:
        yield from beside(session.machine.image)


def module_names(session: Session) -> Iterable[str]:
    """The loaded modules, for completion."""
    return [module.name for module in session.guest.modules().modules]


def file_names(session: Session) -> Iterable[str]:
    """The files of the guest's FAT16 disk, for completion."""
    volume = session.guest.disk().volume
    return [file.name for file in volume.files] if volume is not None else []
