"""What is at this address of a stock kernel: which record, JIT code, module, pool block, function?

Read budget: the records' places, the JIT's and the manager's records as in jit.py and modules.py; for an address in
a pool its blocks as in pools.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.reading import many
from bareflow_gdb.guest.base.values import code_name
from bareflow_gdb.guest.names.elf import KernelSymbols
from bareflow_gdb.guest.names.identify import Identity, field_of, identity
from bareflow_gdb.guest.pools.pools import HEADER_BYTES, KINDS
from bareflow_gdb.guest.stock.generations import Generation
from bareflow_gdb.guest.stock.installed import RECORD_BYTES
from bareflow_gdb.guest.stock.jit import to_jit
from bareflow_gdb.guest.stock.modules import read_modules, sure_extent
from bareflow_gdb.guest.stock.pools import read_pools
from bareflow_gdb.guest.stock.records import Records
from bareflow_gdb.guest.stock.search import FAT16, JIT, JIT_PROFILE, MANAGER, POOLS
from bareflow_gdb.memory.protocol import DEVICES_END, DEVICES_START, RAM_SIZE

_REGIONS = ("kernel", "stack", "RAM above 1 MiB")


def identify_stock(records: Records, plain: Identity, symbols: Callable[[], KernelSymbols]) -> Identity:
    """`plain` is what the memory map tells of the address; what cannot be read leaves it as it is.

    Of the kernel's ELF and the records, the one that knows the narrowest object there answers.
    """
    if DEVICES_START <= plain.address < DEVICES_END:
        return plain
    if DEVICES_END <= plain.address < RAM_SIZE:
        # The memory map up there is that of this project's own kernel.
        plain = identity(plain.address, "RAM above 1 MiB", start=DEVICES_END, size=RAM_SIZE - DEVICES_END)
    named = _symbol(plain, symbols())
    found = [] if named is None else [named]
    for way in (_record, _jit_code, _module, _block) if plain.region in _REGIONS else ():
        try:
            one = way(records, plain)
        except BareflowError:
            # That record is not there (yet): another one may tell.
            continue
        if one is not None:
            found.append(one)
    # Of two that are as large the record, which says more than a name.
    return min(reversed(found), key=lambda one: one.size or RAM_SIZE, default=plain)


def _symbol(plain: Identity, symbols: KernelSymbols) -> Identity | None:
    symbol = symbols.at(plain.address)
    size = symbols.extent(symbol) if symbol is not None else 0
    if symbol is None or not size:
        return None
    return identity(plain.address, plain.region, symbol.name, symbol.address, size, "symbol of the kernel's ELF")


def _tables(kind: str, base: int, generation: Generation) -> Iterator[tuple[str, int, str, int]]:
    """Name, address, layout and number of what a record consists of, the record itself last."""
    if kind == JIT:
        functions = base + layouts.offset("adaptive_jit", "functions")
        yield "JIT entry", functions, "jit_function_entry", layouts.const("MAX_JIT_FUNCTIONS")
        yield "function profile", base, "function_profile", layouts.const("MAX_PROFILED_FUNCTIONS")
        yield kind, base, "adaptive_jit", 1
    elif kind == MANAGER:
        yield kind, base, generation.manager, 1
    elif kind == POOLS:
        yield "pool", base, "memory_pool", 3
    elif kind == JIT_PROFILE:
        yield "JIT profile entry", base, "jit_profile_entry", layouts.const("MAX_JIT_PROFILE_ENTRIES")
        yield kind, base, "jit_profile", 1
    elif kind == FAT16:
        yield kind, base, "fat16_fs", 1


def _record(records: Records, plain: Identity) -> Identity | None:
    address = plain.address
    for finding in records.all_known():
        for name, base, layout, count in _tables(finding.what, finding.address, records.places.generation()):
            size = layouts.size(layout)
            if not base <= address < base + count * size:
                continue
            index, inside = divmod(address - base, size)
            label, field = name if count == 1 else f"{name} {index}", field_of(layout, inside)
            text = f"{label}, {field}" if field else label
            return identity(address, plain.region, text, base + index * size, size, f"struct {layout}")
    return None


def _jit_code(records: Records, plain: Identity) -> Identity | None:
    sizes = records.code_sizes()
    entries = records.entries()
    for entry in entries.entries:
        for one in entry.installed:
            if one.record <= plain.address < one.code + one.size:
                name = f"{code_name(entry.name, one.level, one.number)}, from the host"
                detail = "published code" if one.entry == entry.current_code else "code that calls do not go to now"
                start, size = one.record, one.size + RECORD_BYTES
                whose = (entry.name, one.number, one.level)
                return identity(plain.address, plain.region, name, start, size, detail, *whose)
    for function in to_jit(entries).functions:
        for level, code in enumerate(function.level_codes):
            size = sizes.get(code, 0)
            if code and code <= plain.address < code + size:
                detail = "published code" if code == function.current_code else "code that calls do not go to now"
                kind = _pool_at(records, plain.address)
                region, name = f"{kind} pool" if kind else plain.region, f"{function.name} O{level}"
                return identity(plain.address, region, name, code, size, detail, function.name, level=level)
    return None


def _module(records: Records, plain: Identity) -> Identity | None:
    manager, generation = records.address(MANAGER), records.places.generation()
    modules = read_modules(records.memory, manager, generation).modules
    for module in modules:
        start, size = sure_extent(records.memory, module, modules)
        if start <= plain.address < start + size:
            text = "header and code" if module.image else "code, as far as its end is sure"
            return identity(plain.address, plain.region, f"module {module.name}", start, size, text)
    return None


def _pool_at(records: Records, address: int) -> str:
    """The kind of the pool that the address is in; "" = in none."""
    raws = many(records.memory, "memory_pool", records.address(POOLS), len(KINDS), "pools")
    held = (kind for kind, raw in zip(KINDS, raws, strict=True) if raw.base <= address < raw.base + raw.total_size)
    return next(held, "")


def _block(records: Records, plain: Identity) -> Identity | None:
    kind = _pool_at(records, plain.address)
    if not kind:
        return None
    pools = read_pools(records.memory, records.address(POOLS), records.owners(), kind)
    for pool in pools.pools:
        region = f"{kind} pool"
        for block in pool.blocks:
            text = f"{block.state} block of {block.size:,} bytes"
            if block.start <= plain.address < block.address:
                return identity(plain.address, region, "block header", block.start, HEADER_BYTES, f"of a {text}")
            if block.address <= plain.address < block.end:
                owner = block.owner_name if block.state == "used" else "free block"
                return identity(plain.address, region, owner or "used block", block.address, block.size, text)
        return identity(plain.address, region, start=pool.base, size=pool.size)
    return None
