"""How does a running guest load, unload, reload or register a module, and what did it make of that?

The host stages an image, or writes a name, and rings; the guest checks it as at boot, at a safe point, and tells what
came of it. `answer` looks once.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.files import open_regular
from bareflow_gdb.foreign import clean
from bareflow_gdb.guest.base.absent import need
from bareflow_gdb.guest.base.clock import read_counters
from bareflow_gdb.guest.base.control import LOAD, RELOAD
from bareflow_gdb.guest.base.reading import one
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.base.values import NOWHERE, Address
from bareflow_gdb.guest.code.functions import Function, read_functions
from bareflow_gdb.guest.standstill import stopped_for_good
from bareflow_gdb.memory.protocol import Memory

OF_IMAGES = (LOAD, RELOAD)
"""They take an image; the others a name."""
SINCE = 4
"""Minor version of the debug interface that takes such orders."""


@dataclass(frozen=True)
class ModuleOrder:
    """What is asked of the guest, and how things stood before."""

    action: str
    image: bytes
    name: str
    record: Address
    """Of `struct bf_module_order`."""
    staging: Address
    doorbell: Address
    orders: int
    """That the guest had ended before."""
    before: tuple[Function, ...]

    @property
    def word(self) -> Address:
        """Where the action is written; the guest sets it to 0 when it has ended the order."""
        return Address(self.record + layouts.offset("bf_module_order", "action"))


@dataclass(frozen=True, kw_only=True)
class ModuleAnswer:
    """What became of an order about a module."""

    action: str
    name: str
    done: bool
    message: str = ""
    """Why it was refused."""
    level: int | None = None
    code: Address = NOWHERE
    """Its entry."""
    code_size: int = 0
    function: str = ""
    """The function of the adaptive JIT that it is; "" = none."""
    version: int | None = None
    """What that function runs."""
    version_before: int | None = None
    level_before: int | None = None


def read_image(path: Path) -> bytes:
    """A module image for the guest, of which only the beginning is looked at here. Raises UsageError, Unreachable."""
    most = layouts.const("BF_MODULE_STAGING_SIZE")
    with open_regular(path) as file:
        data = file.read(most + 1)
    if data[:4] != layouts.const("MODULE_MAGIC").to_bytes(4, "little"):
        raise UsageError(f"{path} is not a module image; `bareflow build module` makes one of an object file")
    if len(data) > most:
        raise UsageError(
            f"{path} has more than {most:,} bytes, which a running guest does not take; put it on its disk"
        )
    return data


def given(action: str, what: str) -> tuple[bytes, str]:
    """The image, or the name of the module, that a user meant; a file's name stands for that of its module.

    Raises UsageError, Unreachable.
    """
    path = Path(what).expanduser()
    if action in OF_IMAGES:
        return read_image(path), ""
    if "/" not in what and not path.is_file():
        return b"", what
    at = layouts.offset("module_header", "name")
    return b"", clean(read_image(path)[at : at + layouts.const("BF_NAME_BYTES")])


def order(memory: Memory, root: Root, action: str, image: bytes = b"", name: str = "") -> ModuleOrder:
    """Raises BareflowError when the guest cannot be asked now, UsageError for a name that none can have."""
    memory.invalidate()
    if not root.tells(SINCE):
        raise BareflowError(
            f"this kernel takes no module while it runs (debug interface {root.abi}, 1.{SINCE} does); use its disk"
        )
    need(root, "module_manager", "modules")
    if dead := stopped_for_good(memory, root):
        raise BareflowError(f"no module is taken any more: {dead}")
    if action not in OF_IMAGES and not (name.isascii() and 0 < len(name) < layouts.const("BF_NAME_BYTES")):
        raise UsageError(f"{name!r} names no module; `modules` shows those that are loaded")
    mailbox = need(root, "mailbox", "mailbox")
    record = Address(mailbox + layouts.offset("bf_mailbox", "module"))
    raw = one(memory, "bf_module_order", record, "module order")
    if raw.action:
        raise BareflowError("another order about a module is open; ask again when it has ended")
    if len(image) > raw.staging_size:
        raise BareflowError(f"the guest stages {raw.staging_size:,} bytes, and the image has {len(image):,}")
    functions = tuple(read_functions(memory, root, read_counters(memory, root), []))
    doorbell = Address(mailbox + layouts.offset("bf_mailbox", "doorbell"))
    return ModuleOrder(action, image, name, record, Address(raw.staging), doorbell, raw.orders, functions)


def give(memory: Memory, order: ModuleOrder) -> None:
    """Stages the image, or writes the name, then the action, and rings."""
    if order.image:
        memory.write(order.staging, order.image, "staged module")
        _set(memory, order, "size", struct.pack("<I", len(order.image)))
    else:
        _set(memory, order, "name", order.name.encode().ljust(layouts.const("BF_NAME_BYTES"), b"\0"))
    _set(memory, order, "action", struct.pack("<I", layouts.const(f"BF_MODULE_{order.action.upper()}")))
    memory.write(order.doorbell, struct.pack("<I", 1), "doorbell")
    memory.invalidate()


def withdraw(memory: Memory, order: ModuleOrder) -> None:
    """Takes an order back that the guest has not come to."""
    _set(memory, order, "action", struct.pack("<I", 0))


def answer(memory: Memory, root: Root, order: ModuleOrder) -> ModuleAnswer | None:
    """What became of it; None while the guest has not ended it."""
    memory.invalidate()
    raw = one(memory, "bf_module_order", order.record, "module order")
    if raw.action or raw.orders == order.orders:
        return None
    name = clean(raw.name)
    if raw.refused:
        return ModuleAnswer(action=order.action, name=name, done=False, message=clean(raw.why) or "it does not say why")
    functions = read_functions(memory, root, read_counters(memory, root), [])
    module, function = _module(memory, root, raw.module), _at(functions, raw.function)
    before = _at(order.before, raw.function)
    return ModuleAnswer(
        action=order.action,
        name=name,
        done=True,
        level=module.level if module is not None else None,
        code=Address(module.entry if module is not None else 0),
        code_size=module.code_size if module is not None else 0,
        function=function.name if function is not None else "",
        version=function.version if function is not None else None,
        version_before=before.version if before is not None else None,
        level_before=before.level if before is not None else None,
    )


def _module(memory: Memory, root: Root, index: int) -> Any | None:
    if index >= layouts.const("BF_MAX_MODULES") or not root.module_images:
        return None
    return one(memory, "bf_module_image", root.module_images + index * layouts.size("bf_module_image"), "module image")


def _at(functions: tuple[Function, ...] | list[Function], index: int) -> Function | None:
    return functions[index] if index < len(functions) else None


def _set(memory: Memory, order: ModuleOrder, field: str, data: bytes) -> None:
    memory.write(order.record + layouts.offset("bf_module_order", field), data, f"module order's {field}")
