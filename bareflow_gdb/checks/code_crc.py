"""Are the bytes of each version's code still those that were emitted?"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import ROOT, Subject
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.base.values import code_name
from bareflow_gdb.guest.code.jit_code import IN_MEMORY, LARGEST


def _look(subject: Subject) -> Iterator[Finding]:
    for version in subject.versions:
        if version.state not in IN_MEMORY or not version.code or not 0 < version.code_size <= LARGEST:
            continue
        title = code_name(version.function_name, version.level, version.number)
        code = subject.kernel.memory.read(version.code, version.code_size, f"code of {title}")
        if zlib.crc32(code) != version.code_crc:
            yield Finding(
                what=f"the code of {title} was changed after it was emitted",
                where=f"0x{version.code:08x}, {version.code_size:,} bytes",
                evidence=f"its CRC is 0x{zlib.crc32(code):08x}, 0x{version.code_crc:08x} was recorded",
                consequence="what runs there is not what was compiled"
                if version.state == "published"
                else "it may run again",
                next_step=f"`disas {version.function_name}` shows the code; a breakpoint of a debugger changes it too",
            )


CHECK = Check("code_crc", "the code of every version against its recorded CRC", (ROOT,), _look)
