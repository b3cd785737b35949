"""Which address does a name of the guest mean: a function's code pointer, the publishing store?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.gdb_ui.expression import symbol

if TYPE_CHECKING:
    from bareflow_gdb.gdb_ui.session import Session

STORE = "bareflow_publish_store"


def slot_of(session: Session, name: str) -> int:
    """The address of a function's code pointer; raises UsageError with the names there are."""
    slots = session.guest.kernel().slots()
    if name.isdecimal() and int(name) < len(slots):
        return int(list(slots.values())[int(name)])
    if not slots:
        raise UsageError(
            f"no function is registered yet, {name!r} neither: `continue` until they are, `bf status` shows how far "
            "the guest is"
        )
    if name not in slots:
        raise UsageError(f"no function {name!r} is registered; there are: {', '.join(slots)}")
    return int(slots[name])


def publish_store(session: Session) -> int:
    """Where the publishing store is; raises BareflowError."""
    return exported(session, STORE)


def store_if_known(session: Session) -> int:
    """The same, or what gdb's ELF says of a kernel that cannot be asked; 0 = there is none, or it is inlined."""
    try:
        return publish_store(session)
    except BareflowError:
        return symbol(STORE) or 0


def exported(session: Session, name: str) -> int:
    """A symbol of the kernel: by the guest's own export table, else by the ELF that gdb has.

    The guest is asked first, because gdb may have another kernel's ELF. Raises BareflowError.
    """
    from bareflow_gdb.guest.base.exports import read_exports

    exports = read_exports(session.memory, session.guest.root())
    address = next((int(export.address) for export in exports if export.name == name), None) or symbol(name)
    if address is not None:
        return address
    raise BareflowError(f"this kernel neither exports nor has a symbol {name}; load its ELF with `file`")
