"""Was the bitcode made by an LLVM that ours can read, for such a machine, behind a header that the kernel knows?"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import KERNEL, Subject
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.base.finding import WARNING, Finding
from bareflow_gdb.guest.base.values import Address
from bareflow_gdb.guest.code.bitcode import Bitcode, decode_wrapper, wrapper_bytes
from bareflow_gdb.guest.code.bitstream import Producer, read_producer
from bareflow_gdb.guest.machine.disk import read_content
from bareflow_gdb.guest.machine.fat16 import read_volume
from bareflow_gdb.qemu.disk import image_path, opened

NEWEST_LLVM = 22
"""Of the compiler on the host; it reads what older ones wrote."""
EPOCH = 0
"""LLVM reads bitcode of its own epoch only; it has been this one since there are epochs."""
_TRIPLE = re.compile(r"i[3-6]86-")
_LLVM = re.compile(r"LLVM ?(\d{1,4})")
_SAID = "Invalid bitcode magic"
_BEGINNING = 8192


def _look(subject: Subject) -> Iterator[Finding]:
    if subject.reads_cost or subject.implausible:
        return
    found = list(_carried(subject))
    told: set[str] = set()
    for finding in (made for where, bitcode, producer in found for made in _made(where, bitcode, producer)):
        # What was loaded from the disk is in memory too.
        if finding.what not in told:
            told.add(finding.what)
            yield finding
    headers = sorted({bitcode.header_size for _, bitcode, _ in found if bitcode.header_size})
    if subject.stock is not None and len(headers) == 1:
        yield from _sizes(subject, headers[0], found[0][0])


def _sizes(subject: Subject, there: int, where: str) -> Iterator[Finding]:
    """A stock kernel and what it carries, by its code, or by what it said and what has not scrolled away."""
    from bareflow_gdb.guest.stock.bitcode import header_in_code
    from bareflow_gdb.guest.stock.window import Window

    known = header_in_code(Window(subject.kernel.memory))
    said = "\n".join((subject.log if subject.printed is not None else "", subject.shown or ""))
    if known not in (0, there):
        how = f"its code steps over {known} bytes; the payload (42 43 C0 DE) begins at byte {there}"
    elif not known and _SAID in said:
        how = (
            f"it printed {_SAID!r}; the payload (42 43 C0 DE) begins at byte {there} "
            "of what is embedded, and the kernel looks for the next one where its own header's size leads it"
        )
    else:
        return
    yield Finding(
        what="the kernel and its bitcode have headers of different sizes",
        where=where,
        evidence=how,
        consequence="the payload is shifted by some bytes: it is no bitcode to whoever compiles it",
        next_step="`bitcode` shows the headers; build the wrapper tool and the kernel with one bitcode_header_t",
    )


def _carried(subject: Subject) -> Iterator[tuple[str, Bitcode, Producer | None]]:
    """Place, wrapper and maker of what is in memory, and of what lies on the disk of a machine."""
    for one in subject.kernel.bitcode():
        if one.payload:
            size = min(one.payload_size, _BEGINNING)
            yield f"0x{one.address:08x}", one, _producer(subject.kernel.memory.read(one.payload, size, "bitcode"))
    if subject.machine is None:
        return
    try:
        path = image_path(subject.kernel.memory)
        with opened(path) as image:
            names = [file.name for file in read_volume(image, str(path)).files if file.name.endswith(".BC")]
    except BareflowError:
        return
    for name in names:
        try:
            data = read_content(path, name)[1]
        except BareflowError:
            # A file that cannot be read is told by the kernel, which tried.
            continue
        if len(data) > wrapper_bytes():
            one = decode_wrapper(data[: wrapper_bytes()], name, Address(0), len(data))
            yield name, one, _producer(data[one.header_size :]) if one.header_size else None


def _producer(data: bytes) -> Producer | None:
    try:
        return read_producer(data)
    except BareflowError:
        return None


def _made(where: str, bitcode: Bitcode, producer: Producer | None) -> Iterator[Finding]:
    if producer is None:
        return
    name = bitcode.module or bitcode.function
    version = _LLVM.match(producer.producer)
    if producer.triple and not _TRIPLE.match(producer.triple):
        yield _finding(
            f"the bitcode of {name} is for another machine", where, f"its target is {producer.triple}, not i686"
        )
    elif producer.epoch not in (None, EPOCH):
        yield _finding(
            f"the bitcode of {name} is of another LLVM",
            where,
            f"{producer.producer or 'an LLVM without a name'} made it in epoch {producer.epoch}; the compiler here "
            f"reads epoch {EPOCH} only, and refuses it with 'Incompatible epoch'",
        )
    elif version is not None and int(version[1]) > NEWEST_LLVM:
        yield _finding(
            f"the bitcode of {name} is of a newer LLVM",
            where,
            f"{producer.producer} made it; the compiler here is LLVM {NEWEST_LLVM}, which reads older ones only",
        )


def _finding(what: str, where: str, evidence: str) -> Finding:
    return Finding(
        severity=WARNING,
        what=what,
        where=where,
        evidence=evidence,
        consequence="it is refused, or compiled into code that cannot run: the function stays at its tier",
        next_step="compile it again with --target=i686-unknown-none-elf and the project's clang, and wrap it",
    )


CHECK = Check("bitcode_made", "who made the bitcode, for which machine, behind which header", (KERNEL,), _look)
