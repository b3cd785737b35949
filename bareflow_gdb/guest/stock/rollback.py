"""How is code taken back that the suite put into a stock kernel? By one store of what the code pointer held before.

The code that is taken back stays in memory: a call may be on its way in it.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence

from bareflow_gdb.errors import BadData, UsageError
from bareflow_gdb.guest.base.control import ROLLBACK
from bareflow_gdb.guest.orders import Obeyed
from bareflow_gdb.guest.stock.installed import Installed, read_installed
from bareflow_gdb.guest.stock.jit import Entry, read_entries
from bareflow_gdb.memory.protocol import Memory

_VERSION = re.compile(r"#?\d{1,10}")


def check_order(action: str, what: str | None) -> None:
    """Raises BadData for what only a kernel with a mailbox does, UsageError for a version that is no number."""
    if action != ROLLBACK:
        raise BadData(
            f"this is a stock kernel, without the debug interface: it knows no {action}; `swap rollback` takes back "
            "what `recompile` put into it"
        )
    if what is not None and not _VERSION.fullmatch(what):
        raise UsageError(f"rollback takes the number of a version after the function, not {what!r}")


def roll_back(memory: Memory, jit: int, name: str, what: str | None) -> Obeyed:
    """Back to what the function's code replaced, or to code from the host by its number.

    `memory` is that of a CPU that stands still, `jit` where the kernel's record is. Raises UsageError, ReadError.
    """
    memory.invalidate()
    entries = read_entries(memory, jit).entries
    entry = _find(entries, name)
    chain = read_installed(memory, entry.buffer, entry.buffer_bytes, entry.slot) if entry.buffer else ()
    target, number, why = _target(memory, entry, chain, what)
    if not why:
        memory.write(entry.slot, target.to_bytes(4, "little"), "published code pointer")
        memory.invalidate()
    now = _find(read_entries(memory, jit).entries, name)
    own = "the kernel's own code runs again; " if now.host_code is None else ""
    return Obeyed(
        function=name,
        action=ROLLBACK,
        wanted=name if number is None else f"{name} #{number}",
        done=not why and now.current_code == target,
        reason=ROLLBACK if why else "",
        message=why or f"{own}code that was taken back stays in memory, a call may be on its way in it",
        level_before=entry.running_level,
        version_before=entry.host_code.number if entry.host_code is not None else 0,
        level=now.running_level,
        version=now.host_code.number if now.host_code is not None else 0,
        control="",
    )


def _find(entries: Sequence[Entry], name: str) -> Entry:
    found = next((entry for entry in entries if entry.name == name), None)
    if found is not None:
        return found
    known = ", ".join(entry.name for entry in entries) or "none yet: let the guest run on"
    raise UsageError(f"the guest has no function {name!r}; its functions are {known}")


def _target(memory: Memory, entry: Entry, chain: Sequence[Installed], what: str | None) -> tuple[int, int | None, str]:
    """Where the code pointer is to lead, the number that was asked for, and why that cannot be."""
    there = ", ".join(f"#{one.number} (O{one.level})" for one in chain) or "none"
    if what is not None:
        number = int(what.removeprefix("#"))
        one = next((one for one in chain if one.number == number), None)
        if one is None:
            return 0, number, f"there is no code #{number} from the host in its buffer; there are: {there}"
        if one is entry.host_code or one.entry == entry.current_code:
            return 0, number, f"#{number} is what it runs"
        whole = one.is_whole(memory)
        return one.entry, number, "" if whole else f"the code of #{number} has been changed since it was installed"
    host = entry.host_code
    if host is None:
        left = f" (code from the host that is still there: {there})" if chain else ""
        return 0, None, f"it runs the kernel's own code, and nothing is there to be taken back{left}"
    if host.replaced not in (*entry.level_codes, *(one.entry for one in chain)):
        return 0, None, f"the code at 0x{host.replaced:08x} that it ran before is no code of its own any more"
    before = memory.read(host.replaced, host.replaced_size, "code that was replaced")
    changed = zlib.crc32(before) != host.replaced_crc
    why = f"the code at 0x{host.replaced:08x} that it ran before has been changed since" if changed else ""
    return host.replaced, None, why
