"""Is a module's header right, and what does it say?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bareflow_gdb.questions.question import MODULES, NAME_OR_ADDRESS, Question, argument
from bareflow_gdb.render.hexdump import hexdump
from bareflow_gdb.render.view import Cell, Table, View, known, table, yes

if TYPE_CHECKING:
    from bareflow_gdb.guest.modules.header import HeaderReport


def _view(record: HeaderReport) -> View:
    """Fields, parts of the image, the raw bytes."""
    right = not record.problems
    tier = f", tier O{record.level}" if record.level is not None else ""
    head = known(
        ("module", f"{record.module}{tier}" if record.module else "not one of the module manager's"),
        ("header", yes(right, "right", "wrong")),
        ("at", f"0x{record.address:08x}, {record.image_size:,} bytes with everything"),
        ("magic", f'0x{record.magic:08x} "{record.magic_text}"'),
        ("name", record.name),
        ("version", str(record.version)),
        ("entry", f"0x{record.entry_point:08x}"),
        ("code", f"{record.code_size:,} bytes"),
        ("relocations", record.relocations if record.version == 2 else None),
        (".bss", f"{record.bss_size:,} bytes" if record.version == 2 else None),
        ("shared data", ", ".join(record.symbols) or None),
        ("SHA-256", Cell(record.digest, {"right": "good", "wrong": "bad"}.get(record.digest, "dim"))),
    )
    rows = [(part.name, part.offset, part.size) for part in record.parts]
    parts: list[Table | str] = [table("part|>offset|>bytes", rows)] if rows else []
    parts.append(hexdump(bytes.fromhex(record.raw), record.address))
    return View("Module header", head, tuple(parts), record.problems)


QUESTION = Question(
    name="header",
    help="a module's header: magic, version, entry, parts, relocations, SHA-256, each checked",
    details="An address may be inside the image or inside the module's code.",
    example="header primes",
    arguments=(
        argument(
            "module", kind=NAME_OR_ADDRESS, names=MODULES, metavar="NAME|ADDRESS", help="a loaded module, or an address"
        ),
        argument("--check", action="store_true", help="check the SHA-256 of images over 12 KB too"),
    ),
    ask=lambda context, options: context.kernel.header(options.module, options.check),
    view=_view,
    verdict=lambda record: not record.problems,
    no="something is wrong with it",
)
