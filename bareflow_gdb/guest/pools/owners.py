"""Who owns a pool block, in words?

Read budget: the tables of functions.py, and 1 packet for the module manager.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.code.functions import Version, read_tables
from bareflow_gdb.guest.modules.modules import read_module_names
from bareflow_gdb.memory.protocol import Memory


@dataclass(frozen=True)
class Owners:
    """The names that block owners can have."""

    versions: Mapping[int, Version]
    modules: Mapping[int, str]

    def name(self, kind: str, owner: int) -> str:
        """A block's owner in words; "" for none."""
        if kind == "version":
            version = self.versions.get(owner)
            return version.title if version is not None else f"version {owner}"
        if kind == "module":
            return f"module {self.modules.get(owner, owner)}"
        if kind == "file":
            return f"file of {self.modules.get(owner, owner)}"
        return {"none": "", "table": "block table", "test": "pool self-test"}.get(kind, f"{kind} {owner}")


def read_owners(memory: Memory, root: Root) -> Owners:
    """Names are a help, not the question: a table that cannot be read leaves the numbers."""
    versions: dict[int, Version] = {}
    modules: dict[int, str] = {}
    with suppress(BareflowError):
        # Why a version was made is not shown with a block.
        tables = read_tables(memory, root, [], causes=False)
        versions = {version.number: version for version in tables.versions}
        modules = dict(enumerate(read_module_names(memory, root)))
    return Owners(versions, modules)
