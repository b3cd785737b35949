"""What may a module, and the function it begins with, be called?"""

from __future__ import annotations

import re

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import UsageError

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def module_name(name: str) -> str:
    """The name, as module headers and the guest's tables hold it; raises UsageError with what is wrong with it."""
    return _checked(name, "module", layouts.const("BF_NAME_BYTES") - 1)


def entry_name(name: str) -> str:
    """The name, as bitcode headers hold it; raises UsageError with what is wrong with it."""
    return _checked(name, "entry function", 63)


def _checked(name: str, what: str, limit: int) -> str:
    if not name:
        raise UsageError(f"the {what} has no name; give it one")
    if not NAME.fullmatch(name):
        raise UsageError(
            f"{name!a} is no name for a {what}: letters (a to z), digits and underscores, and no digit first; "
            "choose another"
        )
    if len(name) > limit:
        raise UsageError(f"the {what}'s name {name} has {len(name)} bytes, at most {limit} bytes fit; shorten it")
    return name
