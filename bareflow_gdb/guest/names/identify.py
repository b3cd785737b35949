"""What is at this address?

Read budget: root 1, then only what the region needs: tables of functions.py and the block table for a pool,
the export table (1 packet per 50 symbols) for the kernel, a language model's records for what is its.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.exports import read_exports
from bareflow_gdb.guest.base.loaded import kernel_base
from bareflow_gdb.guest.base.reading import many
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.boot.boot import read_boot
from bareflow_gdb.guest.code.functions import function_table, version_at
from bareflow_gdb.guest.model.places import place_at
from bareflow_gdb.guest.modules.modules import read_module_names
from bareflow_gdb.guest.names.elf import KernelSymbols
from bareflow_gdb.guest.pools.owners import Owners, read_owners
from bareflow_gdb.guest.pools.pools import HEADER_BYTES, read_blocks
from bareflow_gdb.memory.protocol import DEVICES_END, DEVICES_START, RAM_SIZE, Memory

_EBDA = 0x9FC00
_MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Identity:
    """One address in words."""

    address: Address
    region: str
    """Part of the memory map: "kernel", "code pool", "ring 0", …"""
    name: str
    """The object there: symbol, record with its field, function's version, pool block; "" = unknown."""
    start: Address
    """First address of the object, or of the region when there is no object."""
    size: int
    """Bytes of the object, 0 = unknown."""
    offset: int
    """Bytes from `start`."""
    detail: str
    """What else is known about it, as a sentence."""
    function: str
    version: int | None
    level: int | None


def identify(memory: Memory, root: Root | None, address: int) -> Identity:
    """Never raises for an address, however odd; a table that cannot be read leaves the region alone."""
    if not 0 <= address < 1 << 32:
        return identity(address, "outside RAM", detail="this is not a 32-bit address")
    base = kernel_base(memory) if root is None else None
    region, start, end = _region(address, root, _ram_end(memory, address), base or layouts.const("BF_IMAGE_BASE"))
    plain = identity(address, region, start=start, size=end - start)
    try:
        if root is not None:
            found = (
                _record(memory, root, address, region)
                or _in_pool(memory, root, address, region)
                or (_module_file(memory, root, address, region) if region == "kernel" else None)
                or (_of_model(memory, root, address) if region in ("kernel", "model weights") else None)
            )
            if found is not None:
                return found
        return _exported(memory, root, address, region) or _special(address, region, start) or plain
    except BareflowError as error:
        return identity(address, region, start=start, size=end - start, detail=str(error))


def by_elf(plain: Identity, symbols: Callable[[], KernelSymbols]) -> Identity:
    """What the kernel's ELF calls an address of its image of which nothing else is known."""
    symbol = symbols().at(plain.address) if plain.region == "kernel" and not plain.name else None
    if symbol is None:
        return plain
    return identity(plain.address, plain.region, symbol.name, symbol.address, symbol.size, "symbol of the kernel's ELF")


def identity(
    address: int,
    region: str,
    name: str = "",
    start: int | None = None,
    size: int = 0,
    detail: str = "",
    function: str = "",
    version: int | None = None,
    level: int | None = None,
) -> Identity:
    first = address if start is None else start
    offset = address - first
    return Identity(Address(address), region, name, Address(first), size, offset, detail, function, version, level)


def _ram_end(memory: Memory, address: int) -> int:
    """Where RAM ends, by the boot record; asked only for addresses so high that it matters."""
    if address < layouts.const("BF_WEIGHTS_BASE"):
        return RAM_SIZE
    try:
        above = read_boot(memory, None).memory_kib << 10
    except BareflowError:
        return RAM_SIZE
    # The BIOS keeps the last part of the last megabyte for itself.
    end = (DEVICES_END + above + _MEGABYTE - 1) // _MEGABYTE * _MEGABYTE
    return min(end, 1 << 32) if above else RAM_SIZE


def _map(root: Root | None, ram_end: int, base: int) -> Iterator[tuple[str, int, int]]:
    const = layouts.const
    if base < const("BF_IMAGE_BASE"):
        # It has overwritten the boot loader.
        yield "kernel", base, const("BF_IMAGE_LIMIT")
    boot = const("BF_BOOT_RECORD_ADDRESS")
    yield "interrupt vectors", 0, 0x400
    yield "BIOS data area", 0x400, 0x500
    yield "boot record", boot, boot + layouts.size("bf_boot_record")
    model = const("BF_MODEL_RECORD_ADDRESS")
    yield "model record", model, model + layouts.size("bf_model_record")
    yield "stage 1", const("BF_STAGE1_ADDRESS"), const("BF_STAGE2_ADDRESS")
    stage2 = const("BF_STAGE2_ADDRESS")
    yield "stage 2", stage2, stage2 + const("BF_STAGE2_SECTORS") * 512
    yield "kernel", base, root.image_end if root else const("BF_IMAGE_LIMIT")
    yield "stack", const("BF_STACK_BOTTOM"), const("BF_STACK_TOP")
    yield "extended BIOS data area", _EBDA, DEVICES_START
    yield "VGA text", const("BF_VGA_TEXT"), const("BF_VGA_TEXT") + const("BF_VGA_TEXT_BYTES")
    yield "device memory", DEVICES_START, DEVICES_END
    yield "heap", const("BF_HEAP_BASE"), const("BF_HEAP_BASE") + const("BF_HEAP_SIZE")
    for kind in ("CODE", "DATA", "METADATA"):
        base = const(f"BF_POOL_{kind}_BASE")
        yield f"{kind.lower()} pool", base, base + const(f"BF_POOL_{kind}_SIZE")
    for ring in (0, 1):
        records = const(f"BF_RING{ring}_RECORDS")
        size = const(f"BF_RING{ring}_CAPACITY") * layouts.size("bf_event")
        yield f"ring {ring}", const(f"BF_RING{ring}_HEADER"), records + size
    yield "mailbox", const("BF_MAILBOX_SLOTS"), const("BF_STAGING_BASE")
    staging = const("BF_STAGING_BASE")
    yield "staging", staging, staging + const("BF_STAGING_SIZE") * const("BF_MAX_FUNCTIONS")
    yield "model weights", const("BF_WEIGHTS_BASE"), ram_end
    yield "unused RAM", 0, DEVICES_START
    yield "unused RAM", DEVICES_END, ram_end
    yield "outside RAM", 0, 1 << 32


def _region(address: int, root: Root | None, ram_end: int, base: int) -> tuple[str, int, int]:
    name, start, end = next(item for item in _map(root, ram_end, base) if item[1] <= address < item[2])
    return (name, ram_end, end) if name == "outside RAM" and address >= ram_end else (name, start, end)


def _tables(root: Root) -> Iterator[tuple[str, int, str, int]]:
    """Name, address, layout and number of records of each structure the root leads to."""
    const = layouts.const
    yield "root descriptor", root.address, "bf_root", 1
    yield "image header", const("BF_IMAGE_BASE"), "bf_image_header", 1
    yield "boot record", root.boot_record, "bf_boot_record", 1
    yield "model record", const("BF_MODEL_RECORD_ADDRESS") if root.tells(4) else 0, "bf_model_record", 1
    yield "status record", root.status, "bf_status", 1
    yield ("JIT entry", root.adaptive_jit + layouts.offset("adaptive_jit", "functions"), "jit_function_entry", 32)
    yield "function profile", root.function_profiler, "function_profile", const("MAX_PROFILED_FUNCTIONS")
    yield "adaptive JIT", root.adaptive_jit, "adaptive_jit", 1
    yield "module", root.module_manager, "module_profile", const("MAX_MODULES")
    yield "module manager", root.module_manager, "module_manager", 1
    yield "module image", root.module_images, "bf_module_image", const("BF_MAX_MODULES")
    yield "function", root.function_table, "bf_function", const("BF_MAX_FUNCTIONS")
    yield "version record", root.version_table, "bf_version", const("BF_MAX_VERSIONS")
    yield "version cause", root.version_causes, "bf_version_cause", const("BF_MAX_VERSIONS")
    yield "pool", root.pools, "memory_pool", 3
    yield "block table", root.block_table, "bf_block_table", 1
    yield "exception record", root.exception, "bf_exception", 1
    yield "log buffer", root.log_buffer, "bf_log", 1
    yield "export", root.exports, "bf_symbol", root.export_count
    yield "mailbox header", root.mailbox, "bf_mailbox", 1
    yield "mailbox slot", const("BF_MAILBOX_SLOTS"), "bf_mail_slot", const("BF_MAX_FUNCTIONS")
    for index, ring in enumerate(root.rings):
        yield f"ring {index} header", ring, "bf_ring_header", 1
    for index in (0, 1):
        yield "event", const(f"BF_RING{index}_RECORDS"), "bf_event", const(f"BF_RING{index}_CAPACITY")


_PER_FUNCTION = ("JIT entry", "function", "mailbox slot")


def _record(memory: Memory, root: Root, address: int, region: str) -> Identity | None:
    """A structure that the root leads to, with the record's number and the field."""
    for name, base, layout, count in _tables(root):
        size = layouts.size(layout)
        if not base or not base <= address < base + count * size:
            continue
        index, inside = divmod(address - base, size)
        label = name if count == 1 else f"{name} {index}"
        function = _function_name(memory, root, index) if name in _PER_FUNCTION else ""
        field = field_of(layout, inside)
        return identity(
            address,
            region,
            name=f"{label}, {field}" if field else label,
            start=base + index * size,
            size=size,
            detail=f"struct {layout} of {function}" if function else f"struct {layout}",
            function=function,
        )
    return None


def _function_name(memory: Memory, root: Root, index: int) -> str:
    functions = function_table(memory, root)
    return functions[index].name if index < len(functions) else ""


def field_of(layout: str, inside: int) -> str:
    for name in layouts.field_names(layout):
        at = layouts.offset(layout, name)
        if at <= inside < at + layouts.field_size(layout, name):
            return name
    return ""


def _in_pool(memory: Memory, root: Root, address: int, region: str) -> Identity | None:
    if not region.endswith(" pool"):
        return None
    owners = read_owners(memory, root)
    for _, block in read_blocks(memory, root, owners):
        if block.start <= address < block.end:
            break
    else:
        return _of_version(owners, address, region, "")
    text = f"{block.state} block of {block.size:,} bytes"
    if address < block.start + HEADER_BYTES:
        return identity(address, region, "block header", block.start, HEADER_BYTES, f"of a {text}")
    known = _of_version(owners, address, region, text)
    if known is not None:
        return known
    if block.owner_kind == "file" and block.state == "used":
        file = _module_file(memory, root, address, region)
        if file is not None:
            return file
    version = owners.versions.get(block.owner) if block.owner_kind == "version" else None
    return identity(
        address,
        region,
        name=block.owner_name if block.state == "used" else "free block",
        start=block.address,
        size=block.size,
        detail=text,
        function=version.function_name if version else "",
        version=version.number if version else None,
        level=version.level if version else None,
    )


def _of_version(owners: Owners, address: int, region: str, text: str) -> Identity | None:
    """The version whose code is, or last was, at this address."""
    version = version_at(owners.versions.values(), address)
    if version is None:
        return None
    detail = f"{version.state} code, made because: {version.reason}"
    return identity(
        address,
        region,
        name=version.title,
        start=version.code,
        size=version.code_size,
        detail=f"{detail}; {text}" if text else detail,
        function=version.function_name,
        version=version.number,
        level=version.level,
    )


def _module_file(memory: Memory, root: Root, address: int, region: str) -> Identity | None:
    """A module's image or a function's bitcode: the kernel image carries it, or it was read from the disk."""
    for function in function_table(memory, root):
        if function.bitcode <= address < function.bitcode + function.bitcode_size:
            name = f"bitcode of {function.name}"
            start, size = function.bitcode, function.bitcode_size
            return identity(address, region, name, start, size, "header and payload", function.name)
    if not root.module_images or not root.module_manager:
        return None
    names = read_module_names(memory, root)
    images = many(memory, "bf_module_image", root.module_images, len(names), "module images")
    for name, raw in zip(names, images, strict=True):
        if raw.image <= address < raw.image + raw.image_size:
            detail = f"header to SHA-256, tier O{raw.level}"
            return identity(address, region, f"image of module {name}", raw.image, raw.image_size, detail)
    return None


def _of_model(memory: Memory, root: Root, address: int) -> Identity | None:
    """Something of a language model: its weights, what it computes with, its records."""
    place = place_at(memory, root, address)
    if place is None:
        return None
    detail = "; ".join(filter(None, (place.inside(address - place.start), place.detail)))
    return identity(address, place.region, place.name, place.start, place.size, detail)


def _exported(memory: Memory, root: Root | None, address: int, region: str) -> Identity | None:
    """The exported symbol around the address."""
    if region != "kernel" or root is None:
        return None
    for export in read_exports(memory, root):
        if export.address <= address < export.address + max(export.size, 1):
            return identity(address, region, export.name, export.address, export.size, "exported symbol")
    return None


def _special(address: int, region: str, start: int) -> Identity | None:
    """Regions with a structure of their own that needs no read."""
    offset = address - start
    if region == "VGA text":
        row, column = divmod(offset // 2, 80)
        what = "attribute" if offset & 1 else "character"
        return identity(address, region, f"{what} in row {row}, column {column}", start, 4000)
    if region == "interrupt vectors":
        return identity(address, region, f"vector {offset // 4}", offset & ~3, 4, "real-mode vector table")
    if region == "staging":
        size = layouts.const("BF_STAGING_SIZE")
        slot = offset // size
        return identity(address, region, f"staging area of slot {slot}", start + slot * size, size)
    if region == "device memory":
        return identity(address, region, start=start, detail="never read: a read may have side effects")
    return None
