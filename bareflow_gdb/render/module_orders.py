"""How is it shown what became of an order about a module?"""

from __future__ import annotations

from bareflow_gdb import foreign
from bareflow_gdb.guest.base.control import REGISTER, RELOAD, UNLOAD
from bareflow_gdb.guest.base.values import code_name
from bareflow_gdb.guest.module_orders import ModuleAnswer

_DONE = {UNLOAD: "unloaded", RELOAD: "reloaded", REGISTER: "registered"}


def answered(record: ModuleAnswer) -> str:
    """One line: what is so now, or why it is not."""
    what = f"module {record.name}" if record.name else "the module"
    if not record.done:
        return foreign.sentence(f"{what}: {record.action} was not done, the guest refused: {record.message}")
    text = f"{what} {_DONE.get(record.action, 'loaded')}"
    if record.code:
        text += f", O{record.level}, {record.code_size:,} bytes, entry 0x{record.code:08x}"
    if record.version is None or not record.function:
        return foreign.sentence(text)
    now = code_name(record.function, record.level or 0, record.version)
    if record.action != RELOAD or record.version_before is None:
        return foreign.sentence(f"{text}; {now} is called, profiled and swapped from now on")
    before = code_name(record.function, record.level_before or 0, record.version_before)
    return foreign.sentence(
        f"{text}; {before} → {now}, the version before it is retired; its swaps are vetoed now, as its other tiers are "
        f"those of the old source: `swap allow {record.function}` ends that"
    )
