"""Was the guest reset, once or again and again? Each boot prints its first line anew."""

from __future__ import annotations

from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import SERIAL, Subject
from bareflow_gdb.guest.base.finding import ERROR, WARNING, Finding
from bareflow_gdb.guest.code.log_lines import LOOP


def _look(subject: Subject) -> Iterator[Finding]:
    count = len(subject.boots)
    if count < 2:
        return
    before = [line for line in subject.boots[-2].splitlines() if line.strip()]
    loop = count >= LOOP
    yield Finding(
        severity=ERROR if loop else WARNING,
        what=f"the guest reboots in a loop: {count} boots" if loop else "the guest was reset: it has booted twice",
        evidence=f"its output begins {count} times; the boot before this one ended after {before[-1].strip()!r}",
        consequence="nothing that was in its tables before the last boot is left; a triple fault resets without a word",
        next_step="start it with `bareflow run --paused` and `bf break-boot kernel`, or QEMU with -no-reboot -d int",
    )


CHECK = Check("resets", "how often the kernel began to print", (SERIAL,), _look)
