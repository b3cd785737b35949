"""Which modules does a stock kernel run, and is each header right?

Read budget: 1 packet for the manager, 1 per header that does not lie within 2 KB of another.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import ReadError
from bareflow_gdb.foreign import clean
from bareflow_gdb.guest.base.loaded import USUAL, kernel_base
from bareflow_gdb.guest.base.reading import capped, strays
from bareflow_gdb.guest.base.root import is_ram
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.code.prologue import RET
from bareflow_gdb.guest.modules.judge import ModuleHeader, make_header
from bareflow_gdb.guest.modules.modules import Module, Modules, make_module
from bareflow_gdb.guest.stock.extents import LOOKED_AT
from bareflow_gdb.guest.stock.generations import Generation, ModuleRecord, decode_manager
from bareflow_gdb.memory.protocol import RAM_SIZE, Memory


def read_modules(memory: Memory, address: int, generation: Generation) -> Modules:
    """Raises ReadError. Tier, source and image are not kept by stock kernels: None, "" and what the header tells."""
    record = decode_manager(generation, memory.read(address, generation.size, "module manager"))
    problems: list[str] = []
    capacity = layouts.const("MAX_MODULES")
    used = record.modules[: capped(record.num_modules, capacity, "modules", problems)]
    headers, base = _headers(memory, used), kernel_base(memory) or USUAL
    modules = tuple(_module(index, module, headers.get(index), base) for index, module in enumerate(used))
    return Modules(record.num_modules, capacity, record.total_calls, modules, tuple(problems))


def _headers(memory: Memory, modules: tuple[ModuleRecord, ...]) -> dict[int, ModuleHeader]:
    """The header before each module's code, where there is one."""
    size = layouts.size("module_header")
    wanted = [(index, module.code_ptr - size) for index, module in enumerate(modules)]
    wanted = [(index, address) for index, address in wanted if address > 0 and is_ram(address, size)]
    found: dict[int, ModuleHeader] = {}
    for (index, address), data in zip(
        wanted, strays(memory, [(address, size, "module header") for _, address in wanted]), strict=True
    ):
        if data is None:
            continue
        header = make_header(address, layouts.unpack("module_header", data))
        if header.is_one:
            found[index] = header
    return found


def _module(index: int, raw: ModuleRecord, header: ModuleHeader | None, base: int) -> Module:
    return make_module(
        index,
        raw,
        None,
        image=header.address if header is not None else Address(0),
        image_size=layouts.size("module_header") + header.code_size if header is not None else 0,
        header=header,
        # Only header version 2, which stock kernels do not have, carries one.
        digest="none",
        problems=tuple(_problems(raw, header, base)),
    )


def _problems(raw: ModuleRecord, header: ModuleHeader | None, base: int) -> list[str]:
    if not raw.loaded:
        return []
    entry = raw.code_ptr
    if not is_ram(entry):
        return [f"its entry 0x{entry:08x} is not RAM"]
    if entry < base:
        return [f"its entry 0x{entry:08x} is below the kernel: stored without its load address"]
    if header is not None and header.name != clean(raw.name):
        return [f"the header before its code names it {header.name!r}"]
    return []


def sure_extent(memory: Memory, module: Module, others: Iterable[Module]) -> tuple[int, int]:
    """Where a module surely begins, and its bytes: kernels in the field claim sizes that reach over other code.

    A header right before the code is that of an image in one piece; without one only the code to its first return is
    surely the module's.
    """
    after = min((item.image or item.code for item in others if item.code > module.code), default=RAM_SIZE)
    if module.image:
        return module.image, min(module.image_size, after - module.image)
    most = min(module.code_size or LOOKED_AT, LOOKED_AT, after - module.code)
    try:
        code = memory.read(module.code, most, "code of a module")
    except ReadError:
        return module.code, 0
    return module.code, code.find(RET) + 1


def claimed_sizes(modules: Iterable[tuple[str, Address, int]]) -> dict[Address, int]:
    """Bytes of each module's code, by what the kernel says; nothing when it claims that one reaches into another."""
    claims = sorted((code, size) for _, code, size in modules if size)
    if any(code + size > after for (code, size), (after, _) in itertools.pairwise(claims)):
        return {}
    return dict(claims)


def module_names(memory: Memory, address: int, generation: Generation) -> list[tuple[str, Address, int]]:
    """(name, code, bytes) of each module, without headers; empty when the manager cannot be read."""
    try:
        record = decode_manager(generation, memory.read(address, generation.size, "module manager"))
    except ReadError:
        return []
    count = min(record.num_modules, len(record.modules))
    return [(clean(raw.name), Address(raw.code_ptr), raw.code_size) for raw in record.modules[:count]]
