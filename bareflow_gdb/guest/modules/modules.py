"""Which modules run, from where, and is each header right?

Read budget: 1 packet for the manager (1,356 bytes), 1 for the image table (1 KiB), 1 per header that does
not lie within 2 KB of another. `check` also reads every image for its SHA-256: about 1 packet per 2 KB.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData, ReadError
from bareflow_gdb.foreign import clean
from bareflow_gdb.guest.base.absent import Absent, need
from bareflow_gdb.guest.base.reading import capped, filled, many, one, optional, strays, timed
from bareflow_gdb.guest.base.root import Root, is_ram
from bareflow_gdb.guest.base.values import NOWHERE, Address, word
from bareflow_gdb.guest.modules.judge import ModuleHeader, digest_is_right, header_problems, make_header
from bareflow_gdb.memory.protocol import Memory

LARGEST_IMAGE = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Module:
    """One record of the module manager, with its image and its header."""

    index: int
    name: str
    code: Address
    """The entry that calls go to."""
    code_size: int
    loaded: bool
    level: int | None = None
    source: str = ""
    """"embedded", "cache", "disk", "host_asked"; "" when the kernel does not tell."""
    calls: int
    total_cycles: int
    min_cycles: int | None
    max_cycles: int
    mean_cycles: float | None
    deviation_cycles: float | None
    """Standard deviation of the cycles per call."""
    image: Address = NOWHERE
    """0 = the kernel does not keep it."""
    image_size: int = 0
    data: Address = NOWHERE
    data_size: int = 0
    header: ModuleHeader | None
    digest: str
    """"right", "wrong", "none" (header version 1 has no digest), "not read" (the image is not in this memory), "not
    checked" (reading all of it costs packets)."""
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
    manager = one(memory, "module_manager", need(root, "module_manager", "modules"), "module manager")
    problems: list[str] = []
    capacity = layouts.const("MAX_MODULES")
    count = capped(manager.num_modules, capacity, "modules", problems)
    images: list[Any] | None = None
    if at := root.module_images:
        images = optional(lambda: many(memory, "bf_module_image", at, count, "module images"), problems)
    images = images or [None] * count
    headers = _headers(memory, images)
    modules = tuple(
        _module(memory, index, manager.modules[index], images[index], headers.get(index), check)
        for index in range(count)
    )
    return Modules(manager.num_modules, capacity, manager.total_calls, modules, tuple(problems))


def read_module_names(memory: Memory, root: Root) -> list[str]:
    """Names by index, without the headers: 1 packet; none of a kernel without modules. Raises BadData, ReadError."""
    try:
        address = need(root, "module_manager", "modules")
    except Absent:
        return []
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
    parts = strays(memory, [(address, size, "module header") for _, address in known])
    return {
        index: make_header(address, layouts.unpack("module_header", data))
        for (index, address), data in zip(known, parts, strict=True)
        if data is not None
    }


def _module(memory: Memory, index: int, raw: Any, image: Any, header: ModuleHeader | None, check: bool) -> Module:
    name = clean(raw.name)
    problems = _problems(name, raw, image, header)
    digest = "not checked"
    if header is not None and header.version < 2:
        digest = "none"
    elif header is not None and check:
        digest = _digest(memory, image, problems)
    return make_module(
        index,
        raw,
        image,
        source=word("bf_reason", image.source) if image is not None else "",
        header=header,
        digest=digest,
        problems=tuple(problems),
    )


def make_module(index: int, raw: Any, image: Any, /, **given: Any) -> Module:
    """From the manager's record, in any of its generations, and what is kept of the image, None = nothing."""
    return filled(
        Module,
        image,
        index=index,
        name=clean(raw.name),
        code=raw.code_ptr,
        code_size=raw.code_size,
        loaded=raw.loaded != 0,
        deviation_cycles=_deviation(raw.call_count, raw.total_cycles, raw.sum_of_squares),
        **timed(raw),
        **given,
    )


def _deviation(calls: int, total: int, squares: int | None) -> float | None:
    """Standard deviation of cycles per call; None for fewer than two calls, or sums that cannot be right."""
    if calls < 2 or squares is None:
        return None
    variance = (squares * calls - total * total) / (calls * calls)
    return round(variance**0.5, 3) if variance >= 0 else None


def _digest(memory: Memory, image: Any, problems: list[str]) -> str:
    try:
        data = read_image(memory, image.image, image.image_size)
    except ReadError:
        return "not read"
    except BadData as error:
        problems.append(str(error))
        return "wrong"
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
