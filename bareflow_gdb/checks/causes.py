"""Which finding may follow from which? The cause is told first, and what may be its consequence with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bareflow_gdb.guest.base.finding import Finding

_CRASHES = ("exceptions", "printed_exception", "start", "resets", "halted")
_MEMORY = ("low_memory", "descriptors", "interrupt_handlers", "leaked_blocks")
_TABLES = ("plausible", "pool_room", "records", "statistics", "counted", "thresholds", "published")

MAY_CAUSE: dict[str, tuple[str, ...]] = {
    # The loader did not do its work.
    "loader_said": ("start", "loaded", "halted"),
    "a20_line": (
        "loaded",
        "whole_image",
        "code_origin",
        "code_blocks",
        "ring_records",
        "no_disk",
        "refused",
        "results",
        *_MEMORY,
        *_TABLES,
        *_CRASHES,
    ),
    # What is in memory is not what was built.
    "whole_image": ("slide", "stubs", "missing_modules", "refused", "results", *_MEMORY, *_TABLES, *_CRASHES),
    "loaded": (
        "slide",
        "stubs",
        "missing_modules",
        *_MEMORY,
        "refused",
        "self_tests",
        "results",
        "equal_tiers",
        *_TABLES,
        *_CRASHES,
    ),
    "slide": (
        "data_over_stack",
        "baud",
        "told_wrong",
        "missing_modules",
        *_MEMORY,
        "refused",
        "results",
        *_TABLES,
        *_CRASHES,
    ),
    "data_over_stack": ("stack_overrun", *_MEMORY, "results", "refused", *_TABLES, *_CRASHES),
    # The code cannot run on this CPU as it is set up.
    "cpu_features": (
        "stack_overrun",
        *_MEMORY,
        *_TABLES,
        "refused",
        "low_memory",
        "self_tests",
        "published",
        *_CRASHES,
    ),
    "interrupt_table": ("start", "resets"),
    "descriptors": _CRASHES,
    "interrupt_handlers": ("results", "statistics", *_CRASHES),
    "interrupt_storm": ("start", "thresholds", "published"),
    # Something wrote where it must not.
    "recursion": ("data_over_stack", "stack_overrun", *_MEMORY, "code_crc", "images", "results", *_TABLES, *_CRASHES),
    "not_relocated": ("low_memory", "code_targets", "results", "self_tests", *_CRASHES),
    "module_data": (
        "code_blocks",
        "pool_room",
        "data_over_stack",
        "registers_kept",
        "code_crc",
        "results",
        *_MEMORY,
        *_TABLES,
        *_CRASHES,
    ),
    "low_memory": ("printed_exception", "start", "resets", "halted"),
    "stack_overrun": ("code_crc", "images", "results", *_TABLES, *_CRASHES),
    "code_crc": ("registers_kept", "results", "swap_events", *_CRASHES),
    "ring_records": ("swap_events", "code_reuse", "old_versions", "thresholds"),
    "code_blocks": ("code_crc", "code_origin", "code_targets", "records", "results", *_CRASHES),
    # JIT code is not what it should be, or is not where calls go.
    "code_origin": ("code_targets", "calls_kept", "registers_kept", "instructions", "results", *_CRASHES),
    "code_targets": ("results", *_CRASHES),
    "instructions": _CRASHES,
    "code_pointers": ("published", "results", *_CRASHES),
    "old_versions": ("results", *_CRASHES),
    # A swap is recorded otherwise than it was made.
    "swap_records": ("swap_events", "swap_log", "thresholds", "evictions"),
    "images": ("refused", "results", "self_tests", *_CRASHES),
    "plausible": ("pool_room", "records", "statistics", "counted", "thresholds", "published"),
    # JIT code breaks its callers.
    "calls_kept": ("results", "statistics", *_CRASHES),
    "registers_kept": ("frozen_count", "told_wrong", "results", "statistics", "counted", "thresholds", *_CRASHES),
    "frozen_count": ("told_wrong", "statistics", "counted", "thresholds"),
    "equal_tiers": ("thresholds",),
    # Something is not there.
    "wrong_drive": ("no_disk", "refused", "self_tests", "thresholds", "stubs"),
    "disk_files": ("refused", "self_tests", "thresholds", "bitcode_made"),
    "pool_room": (
        "code_blocks",
        "leaked_blocks",
        "refused",
        "self_tests",
        "thresholds",
        "records",
        "published",
        "told_wrong",
    ),
    "bitcode_made": ("refused", "thresholds"),
    "missing_modules": ("stubs",),
    "no_disk": ("refused", "self_tests", "thresholds", "stubs"),
    "refused": ("leaked_blocks", "self_tests", "stubs", "thresholds", "published"),
    "stubs": ("results", "statistics"),
    # The fault itself, before what it led to.
    "exceptions": ("published", "start", "resets", "halted"),
    "printed_exception": ("resets", "halted"),
    "start": ("resets", "halted"),
    "published": ("thresholds", "counted"),
    "resets": ("halted",),
}
"""Names of checks; what a check may cause never causes it."""


@dataclass(frozen=True)
class Cause:
    """A finding that no other one explains, and those that it may explain."""

    finding: Finding
    may_follow: tuple[Finding, ...]


def ranked(findings: Iterable[Finding]) -> tuple[Cause, ...]:
    """What is wrong, by cause: of several that may explain a finding the one that explains most is taken.

    Causes come by severity, then by how much they may explain. Notes are nothing that is wrong, and are left out.
    """
    bad = [finding for finding in findings if finding.bad]
    names = {finding.check for finding in bad}
    caused = {name for cause in names for name in MAY_CAUSE.get(cause, ())}
    roots = [finding for finding in bad if finding.check not in caused]
    follow: dict[int, list[Finding]] = {number: [] for number in range(len(roots))}
    for finding in bad:
        explained_by = [number for number, root in enumerate(roots) if finding.check in _reach(root.check, names)]
        if explained_by:
            follow[max(explained_by, key=lambda number: len(_reach(roots[number].check, names)))].append(finding)
    causes = [Cause(root, tuple(follow[number])) for number, root in enumerate(roots)]
    return tuple(sorted(causes, key=lambda one: (one.finding.severity != "error", -len(one.may_follow))))


def _reach(name: str, among: set[str]) -> set[str]:
    """Which checks of `among` this one may explain, by several steps too."""
    reached: set[str] = set()
    ahead = [name]
    while ahead:
        for effect in MAY_CAUSE.get(ahead.pop(), ()):
            if effect in among and effect not in reached:
                reached.add(effect)
                ahead.append(effect)
    return reached
