"""What does gdb itself know of a name?"""

from __future__ import annotations

import gdb


def symbol(name: str) -> int | None:
    """The address of a symbol of the ELF that gdb has; None without one."""
    try:
        return int(gdb.parse_and_eval(f"(unsigned long)&{name}"))
    except gdb.error:
        return None
