"""What is at this address?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bareflow_gdb.guest.base.values import code_name
from bareflow_gdb.questions.question import ADDRESS, MEMORY, Question, argument
from bareflow_gdb.render.view import Cell, View, address, known

if TYPE_CHECKING:
    from bareflow_gdb.guest.names.identify import Identity


def _view(record: Identity) -> View:
    """One address."""
    place = f"{record.name or record.region} + 0x{record.offset:x}" if record.offset else record.name
    head = known(
        ("region", record.region),
        ("object", Cell(place or record.region, "strong")),
        ("begins at", address(record.start)),
        ("bytes", record.size or None),
        ("function", record.function or None),
        ("version", _version(record)),
    )
    notes = (record.detail,) if record.detail else ()
    return View(f"0x{record.address:08x}", head, (), (), notes)


def _version(record: Identity) -> str | None:
    if record.version is None or record.level is None:
        return None
    return code_name(record.function, record.level, record.version)


QUESTION = Question(
    name="identify",
    help="what an address belongs to: module, version, pool block, table, stack or device",
    example="identify 0x00200010",
    arguments=(argument("address", kind=ADDRESS, metavar="ADDRESS", help="the address"),),
    needs=(MEMORY,),
    ask=lambda context, options: context.kernel.identify(options.address),
    view=_view,
    verdict=lambda record: record.region != "outside RAM",
    no="the address is outside RAM",
)
