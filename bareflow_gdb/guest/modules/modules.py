"""Which modules run, from where, and is each header right?

Read budget: 1 packet for the manager (1,356 bytes), 1 for the image table (1 KiB), 1 per header that does
not lie within 2 KB of another. `check` also reads every image for its SHA-256: about 1 packet per 2 KB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData, ReadError
from bareflow_gdb.guest.base.reading import bulk, capped, many, need, one
from bareflow_gdb.guest.base.root import Root, is_ram
from bareflow_gdb.guest.base.values import NO_MINIMUM, Address, clean, word
from bareflow_gdb.guest.modules.judge import ModuleHeader, digest_is_right, header_problems, make_header
from bareflow_gdb.memory.protocol import Memory

LARGEST_IMAGE = 1 << 20


@dataclass(frozen=True)
class Module:
    """One record of the module manager, with its image and its header."""

    index: int
    name: str
    code: Address
    """The entry that calls go to."""
    code_size: int
    loaded: bool
    level: int | None
    source: str
    """"embedded", "cache", "disk"; "" when the kernel does not tell."""
    calls: int
    total_cycles: int
    min_cycles: int | None
    max_cycles: int
    mean_cycles: float | None
    deviation_cycles: float | None
    """Standard deviation of the cycles per call."""
    image: Address
    """0 = the kernel does not keep it."""
    image_size: int
    data: Address
    data_size: int
    header: ModuleHeader | None
    digest: str
    """"right", "wrong", "not checked", "none" (header version 1 has no digest)."""
    problems: tuple[str, ...]


@dataclass(frozen=True)
class Modules:
    """The module manager."""

    count: int
    """As the guest counts them."""
    capacity: int
    total_calls: int
    modules: tuple[Module, ...]
    problems: tuple[str, ...]

    def all_problems(self) -> list[str]:
        """The manager's and every module's."""
        return [*self.problems, *(f"{m.name}: {text}" for m in self.modules for text in m.problems)]


def read_modules(memory: Memory, root: Root, check: bool = False) -> Modules:
    """Raises BadData when the kernel has no module manager, ReadError."""
    manager = one(memory, "module_manager", need(root.module_manager, "module manager"), "module manager")
    problems: list[str] = []
    capacity = layouts.const("MAX_MODULES")
    count = capped(manager.num_modules, capacity, "modules", problems)
    images: list[Any] = [None] * count
    if root.module_images:
        images = many(memory, "bf_module_image", root.module_images, count, "module images")
    headers = _headers(memory, images)
    modules = [
        _module(memory, index, manager.modules[index], images[index], headers.get(index), check)
        for index in range(count)
    ]
    return Modules(
        count=manager.num_modules,
        capacity=capacity,
        total_calls=manager.total_calls,
        modules=tuple(modules),
        problems=tuple(problems),
    )


def read_module_names(memory: Memory, root: Root) -> list[str]:
    """Names by index, without the headers: 1 packet. Raises BadData, ReadError."""
    address = need(root.module_manager, "module manager")
    manager = one(memory, "module_manager", address, "module manager")
    count = min(manager.num_modules, layouts.const("MAX_MODULES"))
    return [clean(raw.name) for raw in manager.modules[:count]]


def read_image(memory: Memory, address: int, size: int) -> bytes:
    """The whole image of a module; raises BadData when its size cannot be right."""
    if not 0 < size <= LARGEST_IMAGE:
        raise BadData(f"the module image at 0x{address:08x} claims {size} bytes, which cannot be right")
    return memory.read(address, size, "module image")


def _headers(memory: Memory, images: list[Any]) -> dict[int, ModuleHeader]:
    size = layouts.size("module_header")
    known = [(index, raw.image) for index, raw in enumerate(images) if raw and is_ram(raw.image, size)]
    found: dict[int, ModuleHeader] = {}
    try:
        parts = bulk(memory, [(address, size, "module header") for _, address in known])
    except ReadError:
        return found
    for (index, address), data in zip(known, parts, strict=True):
        found[index] = make_header(address, layouts.unpack("module_header", data))
    return found


def _module(memory: Memory, index: int, raw: Any, image: Any, header: ModuleHeader | None, check: bool) -> Module:
    name = clean(raw.name)
    problems = _problems(name, raw, image, header)
    digest = "not checked"
    if header is not None and header.version < 2:
        digest = "none"
    elif header is not None and check:
        digest = _digest(memory, image, problems)
    calls = raw.call_count
    return Module(
        index=index,
        name=name,
        code=Address(raw.code_ptr),
        code_size=raw.code_size,
        loaded=raw.loaded != 0,
        level=image.level if image is not None else None,
        source=word("bf_reason", image.source) if image is not None else "",
        calls=calls,
        total_cycles=raw.total_cycles,
        min_cycles=None if raw.min_cycles == NO_MINIMUM else raw.min_cycles,
        max_cycles=raw.max_cycles,
        mean_cycles=round(raw.total_cycles / calls, 3) if calls else None,
        deviation_cycles=deviation(calls, raw.total_cycles, raw.sum_of_squares),
        image=Address(image.image if image is not None else 0),
        image_size=image.image_size if image is not None else 0,
        data=Address(image.data if image is not None else 0),
        data_size=image.data_size if image is not None else 0,
        header=header,
        digest=digest,
        problems=tuple(problems),
    )


def deviation(calls: int, total: int, squares: int) -> float | None:
    """Standard deviation of cycles per call; None for fewer than two calls, or sums that cannot be right."""
    if calls < 2:
        return None
    variance = (squares * calls - total * total) / (calls * calls)
    return round(variance**0.5, 3) if variance >= 0 else None


def _digest(memory: Memory, image: Any, problems: list[str]) -> str:
    try:
        data = read_image(memory, image.image, image.image_size)
    except (BadData, ReadError) as error:
        problems.append(str(error))
        return "not checked"
    if not digest_is_right(data):
        problems.append("the image's SHA-256 is wrong: something wrote over it, or it is truncated")
        return "wrong"
    return "right"


def _problems(name: str, raw: Any, image: Any, header: ModuleHeader | None) -> list[str]:
    found: list[str] = []
    if raw.loaded and not is_ram(raw.code_ptr):
        found.append(f"its entry 0x{raw.code_ptr:08x} is not RAM")
    elif raw.loaded and raw.code_ptr < layouts.const("BF_IMAGE_BASE"):
        found.append(f"its entry 0x{raw.code_ptr:08x} is below the kernel: stored without its load address")
    if header is None:
        if image is not None and image.image:
            found.append(f"its image at 0x{image.image:08x} cannot be read")
        return found
    return found + header_problems(header, name, image.image_size)
