"""What is on the guest's FAT16 disk?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bareflow_gdb.errors import UsageError
from bareflow_gdb.questions.question import FILES, MACHINE, MEMORY, Context, Options, Question, argument
from bareflow_gdb.render.hexdump import hexdump
from bareflow_gdb.render.view import Cell, Table, View, known, table

if TYPE_CHECKING:
    from bareflow_gdb.guest.machine.disk import Disk
    from bareflow_gdb.guest.machine.fat16 import FatContent


def _ask(context: Context, options: Options) -> Disk | FatContent:
    from bareflow_gdb.guest.machine.disk import read_content, read_image

    if options.action == "list":
        return context.kernel.disk() if context.disk_image is None else read_image(context.disk_image)
    if options.file is None:
        raise UsageError("which file? `fat list` shows what there is")
    return read_content(image_of(context), options.file)[0]


def image_of(context: Context) -> Path:
    """The disk image that is asked: the guest's second disk, or the one that is named. Raises BareflowError."""
    from bareflow_gdb.qemu.disk import image_path

    return context.disk_image or image_path(context.guest.memory)


def _view(record: Disk | FatContent) -> View:
    from bareflow_gdb.guest.machine.fat16 import FatContent

    return _content(record) if isinstance(record, FatContent) else _listing(record)


def _listing(record: Disk) -> View:
    """The volume, then its files."""
    volume, mounted = record.volume, record.mounted
    head = known(
        ("image", volume.image if volume else None),
        ("volume", f"{volume.label} {volume.volume_id}" if volume else None),
        (
            "clusters",
            f"{volume.clusters:,} of {volume.cluster_bytes:,} bytes, {volume.clusters_free:,} free" if volume else None,
        ),
        (
            "guest",
            f"mounted {mounted.label!r}: {mounted.total:,} sectors, data from sector {mounted.data_start}"
            if mounted
            else None,
        ),
    )
    parts: tuple[Table | str, ...] = ()
    if volume is not None:
        rows = [
            (
                f.name,
                "directory" if f.directory else f.size,
                f.clusters,
                f.first_cluster or None,
                f.date or None,
                Cell("damaged", "bad") if f.problem else "",
            )
            for f in volume.files
        ]
        parts = (table("file|>bytes|>clusters|>~first|~changed|", rows, empty="no files"),)
    return View("FAT16 disk", head, parts, record.problems, record.notes)


def _content(record: FatContent) -> View:
    """A file: its text, else its bytes."""
    if record.text or not record.size:
        return View("", parts=(record.text.rstrip("\n"),))
    notes = (f"{record.name}: {record.size:,} bytes, SHA-256 {record.sha256}",)
    return View("", parts=(hexdump(bytes.fromhex(record.data)),), notes=notes)


QUESTION = Question(
    name="fat",
    help="the files of the guest's FAT16 disk, or one of them",
    details="The guest's own state of the volume comes from its memory, the files from the disk image that QEMU has.",
    example="fat cat README.TXT",
    arguments=(
        argument(
            "action",
            nargs="?",
            choices=("list", "cat"),
            default="list",
            metavar="list|cat",
            help="list the files (default), or show one",
        ),
        argument("file", nargs="?", names=FILES, of=("action", "cat"), metavar="FILE", help="with cat: its 8.3 name"),
    ),
    needs=(MEMORY, MACHINE),
    ask=_ask,
    view=_view,
    verdict=lambda record: not getattr(record, "problems", ()),
    no="something on the volume is damaged",
    file_kind="disk",
)
