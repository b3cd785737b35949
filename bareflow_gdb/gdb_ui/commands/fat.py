"""`bf fat`: the files of the guest's FAT16 disk."""

from __future__ import annotations

import argparse
from typing import Any

from bareflow_gdb.errors import UsageError
from bareflow_gdb.gdb_ui.command import argument, command
from bareflow_gdb.gdb_ui.guards import only_with_guest
from bareflow_gdb.gdb_ui.kernel_names import file_names
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.gdb_ui.show import table


def _show(record: Any) -> str:
    from bareflow_gdb.guest.machine.fat16 import FatContent

    return table("fat_content" if isinstance(record, FatContent) else "disk")(record)


@command(
    "fat",
    example="bf fat cat README.TXT",
    arguments=(
        argument("action", choices=("list", "cat"), metavar="list|cat", help="list the files, or show one"),
        argument("file", nargs="?", metavar="FILE", help="with cat: its 8.3 name", complete=file_names),
    ),
    show=_show,
    verdict=lambda record: not getattr(record, "problems", ()),
)
@only_with_guest
def fat(options: argparse.Namespace, session: Session) -> Any:
    """List the files of the guest's FAT16 disk, or show one.

    The guest's own state of the volume comes from its memory, the files from the disk image that QEMU has.
    """
    if options.action == "list":
        return session.guest.disk()
    if options.file is None:
        raise UsageError("which file? `bf fat list` shows what there is")
    from bareflow_gdb.guest.machine.disk import read_content
    from bareflow_gdb.qemu.disk import image_path

    return read_content(image_path(session.memory), options.file)[0]
