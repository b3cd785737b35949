"""Which commands of gdb's own does the suite hook, so that nobody has to ask it? The user's hooks come first.

`hook-stop` runs before gdb shows a stop, `hookpost-monitor` after a command to QEMU's monitor, which may have changed
all memory (`loadvm`, `system_reset`) without an event that gdb tells of.
"""

from __future__ import annotations

import gdb

_BODIES = {"hook-stop": "if $_bf_stopped()\nend", "hookpost-monitor": "if $_bf_monitored()\nend"}


def define() -> None:
    """Defines each, unless there is one: the user's, or this one."""
    for name, body in _BODIES.items():
        if not _defined(name):
            gdb.execute(f"define {name}\n{body}\nend", to_string=True)


def take_back() -> None:
    """Empties those that are the suite's; gdb cannot forget them."""
    for name, body in _BODIES.items():
        if _defined(name) == body.split():
            gdb.execute(f"define {name}\nend", to_string=True)


def _defined(name: str) -> list[str]:
    """The words of the hook that there is."""
    try:
        return str(gdb.execute(f"show user {name}", to_string=True)).partition("\n")[2].split()
    except gdb.error:
        return []
