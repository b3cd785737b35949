"""Does a stock kernel's module use memory behind its own image? Then its .bss was left out of the file."""

from __future__ import annotations

from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import STOCK, Subject
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.code.own_place import Reached, reached
from bareflow_gdb.guest.code.paths import reachable
from bareflow_gdb.guest.modules.modules import Module

_MOST_BYTES = 1 << 16


def _look(subject: Subject) -> Iterator[Finding]:
    for module in subject.kernel.modules().modules:
        size = min(module.image + module.image_size - module.code, module.image_size)
        if not module.loaded or not module.image or not 0 < size <= _MOST_BYTES:
            continue
        try:
            code = subject.kernel.memory.read(module.code, size, f"code of module {module.name}")
        except BareflowError:
            continue
        end = module.image + module.image_size
        found = [one for one in reached(reachable(code, module.code, module.code, lambda _: None)) if _behind(one, end)]
        if found:
            yield _finding(module, found)


def _behind(one: Reached, end: int) -> bool:
    """Where an array ends may be computed, too."""
    return end + (not one.uses) <= one.address < end + _MOST_BYTES


def _finding(module: Module, found: list[Reached]) -> Finding:
    one = found[0]
    end = module.image + module.image_size
    furthest = max(each.address for each in found)
    return Finding(
        what=f"module {module.name} uses memory at 0x{one.address:08x}, which is not its own",
        where=f"0x{one.step.address:08x}",
        evidence=f"`{one.step}`; its image ends at 0x{end:08x}, and {len(found)} instructions lead behind it, as far as "
        f"0x{furthest:08x}: its .bss is not in its image",
        consequence="its variables lie over the pool's next block, or over another module: results are wrong, and what "
        "lay there is overwritten",
        next_step="link .bss into the module's file as zeros, or give it room and clear it when the module is loaded",
    )


CHECK = Check("module_data", "what a stock kernel's modules use behind their own images", (STOCK,), _look)
