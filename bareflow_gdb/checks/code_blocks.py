"""Is the code of each version in an allocated block of its own, apart from data and from the code of others?"""

from __future__ import annotations

from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import ROOT, Subject
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.code.functions import Version
from bareflow_gdb.guest.code.jit_code import IN_MEMORY

_PARTS = (("code", "code", "code"), ("rodata", "data", "read-only data"))


def _look(subject: Subject) -> Iterator[Finding]:
    there = [one for one in subject.versions if one.state in IN_MEMORY]
    for version in there:
        for part, pool, name in _PARTS:
            address, size = getattr(version, part), getattr(version, f"{part}_size")
            if not address and not size and part == "rodata":
                continue
            wrong = _wrong(version, address, size, pool, subject)
            if wrong:
                yield _finding(f"the {name} of {version.title} has no block of its own", address, size, wrong)
        if not version.holds(version.entry):
            wrong = f"it is entered at 0x{version.entry:08x}"
            yield _finding(f"{version.title} is entered outside of its code", version.code, version.code_size, wrong)
    yield from _shared(there)
    told = set(subject.kernel.pools().all_problems())
    for text in subject.kernel.pools(check=True).all_problems():
        if text not in told:
            yield Finding(
                what=text,
                consequence="what is allocated next may be what is in use",
                next_step="`pools --check` walks the blocks, `block ADDRESS` shows one with its neighbours",
            )


def _wrong(version: Version, address: int, size: int, pool: str, subject: Subject) -> str:
    found = next(((kind, block) for kind, block in subject.blocks if block.start <= address < block.end), None)
    if found is None:
        return "it is in no block of the pools"
    kind, block = found
    if kind != pool:
        return f"it is in the {kind} pool"
    if block.state != "used":
        return f"its block is {block.state}"
    if (block.owner_kind, block.owner) != ("version", version.number):
        return f"its block is of {block.owner_name or 'nobody'}"
    if block.address != address or address + size > block.end:
        return f"its block is 0x{block.address:08x} and {block.size:,} bytes"
    return ""


def _shared(versions: list[Version]) -> Iterator[Finding]:
    """Neighbours by address that overlap."""
    before: Version | None = None
    for version in sorted(versions, key=lambda one: one.code):
        if before is not None and before.holds(version.code):
            yield _finding(
                f"{before.title} and {version.title} share one buffer",
                version.code,
                version.code_size,
                f"the code of {before.title} reaches to 0x{before.code + before.code_size:08x}",
            )
        if before is None or version.code + version.code_size > before.code + before.code_size:
            before = version


def _finding(what: str, address: int, size: int, evidence: str) -> Finding:
    return Finding(
        what=what,
        where=f"0x{address:08x}, {size:,} bytes",
        evidence=evidence,
        consequence="it is overwritten by the next allocation, or by the other version",
        next_step="`pools` shows the blocks with their owners, `jit` the versions",
    )


CHECK = Check("code_blocks", "the blocks that versions are in, and every block's header", (ROOT,), _look)
