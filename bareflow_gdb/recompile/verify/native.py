"""What do two versions of a function compute on the host's own CPU? For x87 code, which no emulator here does rightly.

A program for i386 is made of a copy of guest memory and a driver (driver.S), which calls both versions with each input.
It may read, write and exit, as the kernel sees to, and ends after a second of processor time.
"""

from __future__ import annotations

import contextlib
import io
import mmap
import os
import resource
import struct
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bareflow_gdb.recompile.verify.inputs import Pair
from bareflow_gdb.recompile.verify.trial import Span

DRIVER = bytes.fromhex(
    "b8ac000000bb16000000b901000000cd80bb0200000085c00f8588000000a10c0001703b05000001707360bb0000008031d2e876000000a1"
    "04000170e8870000008b3d10000170890731dbba000000a0e858000000bb0000008031d2e84c000000a108000170e85d0000008b3d100001"
    "70894704e88f000000ff050c000170810510000170cc000000eb93b9000002708b151000017029cabb01000000b804000000cd8031dbb801"
    "000000cd80bd400001708b4d04e3108b750089f701de01d7f3a583c508ebebc389c28dbc240000feffb9007f000031c0f3ab89d08b150c00"
    "0170892514000170ff34d504100170ff34d50010017031c931d2dbe3ffd08b2514000170dbe3fcc38b151000017083c208c702000000008d"
    "5a04bd400001708b4d04e3318b75008dbe000000a0f3a7741f833a10731fff028d46fc89038b47fc8943048b46fc89430883c30c85c975dd"
    "83c508ebcac3"
)
"""driver.S, assembled; a test compares the two."""

MOST_INPUTS = 32
SECONDS = 1
WALL_SECONDS = 10.0
LOWEST = 0x10000
"""Programs cannot have memory below that (vm.mmap_min_addr)."""
_CODE, _CONTROL, _INPUTS, _OUT, _STACK = 0x70000000, 0x70010000, 0x70011000, 0x70020000, 0x71000000
_OUT_BYTES, _STACK_BYTES = 0x10000, 0x40000
_PRISTINE, _SAVED = 0x80000000, 0xA0000000
_RECORD = struct.Struct("<3I48I")
_MOST_RANGES = 64
_READ, _WRITE, _EXECUTE = 4, 2, 1
_PAGE = mmap.PAGESIZE


@dataclass(frozen=True)
class Ran:
    """What both versions did with one input."""

    old: int
    new: int
    changed: tuple[tuple[int, int, int], ...]
    """Address, word of the old version, word of the new one: the first that differ."""


class CannotRun(Exception):
    """This host did not run it; the text is the end of a sentence."""


class Native:
    """A program that was prepared, and later runs."""

    def __init__(self, entries: tuple[int, int], memory: Mapping[Span, bytes], placed: Mapping[int, bytes]) -> None:
        """`memory`: the content of each range; `placed`: what lies there instead, by address. Raises OSError."""
        self._entries = entries
        self._ranges = [(max(start, LOWEST), end) for start, end in memory]
        self._process: subprocess.Popen[bytes] | None = None
        self._deadline = 0.0
        self._file: io.RawIOBase = os.fdopen(os.memfd_create("two versions"), "wb", buffering=0)
        file = self._file.fileno()
        segments = [(_CODE, _PAGE, _READ | _EXECUTE), (_CONTROL, 2 * _PAGE, _READ | _WRITE)]
        segments += [(_OUT, _OUT_BYTES, _READ | _WRITE), (_STACK, _STACK_BYTES, _READ | _WRITE)]
        offset = _PAGE
        headers = []
        for address, size, flags in segments:
            headers.append(_segment(offset, address, size, flags))
            offset += size
        for (start, end), (begin, content) in zip(
            self._ranges, ((first, data) for (first, _), data in memory.items()), strict=True
        ):
            for address, flags in ((start, 7), (_PRISTINE + start, _READ)):
                headers.append(_segment(offset, address, end - start, flags))
            os.pwrite(file, content[start - begin :], offset)
            for address, data in placed.items():
                if start <= address < end:
                    os.pwrite(file, data, offset + address - start)
            offset += end - start
            # A hole of the file: zeros that take no memory until they are written.
            headers.append(_segment(offset, _SAVED + start, end - start, _READ | _WRITE))
            offset += end - start
        os.ftruncate(file, offset)
        os.pwrite(file, DRIVER, _PAGE)
        os.pwrite(file, _elf(headers), 0)

    def start(self, inputs: Sequence[Pair], written: Sequence[Span]) -> None:
        """Begins to run; `written`: what calls write to, which is put back and compared. Raises CannotRun."""
        tried = inputs[:MOST_INPUTS]
        inside = [(a, b) for a, b in written if any(start <= a < b <= end for start, end in self._ranges)]
        words = [word for start, end in inside[:_MOST_RANGES] for word in (start, (end - start) // 4)]
        control = struct.pack("<5I", len(tried), *self._entries, 0, _OUT).ljust(64, b"\0")
        file = self._file.fileno()
        os.pwrite(file, control + struct.pack(f"<{len(words)}I", *words), 2 * _PAGE)
        os.pwrite(file, b"".join(struct.pack("<ii", *pair) for pair in tried), 3 * _PAGE)
        # One that is open for writing is not executed.
        program = os.fdopen(os.open(f"/proc/self/fd/{file}", os.O_RDONLY), "rb", buffering=0)
        self._file.close()
        self._file = program
        try:
            self._process = subprocess.Popen(
                [f"/proc/self/fd/{program.fileno()}"],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                pass_fds=(program.fileno(),),
                env={},
                cwd="/",
            )
        except OSError as error:
            raise CannotRun(f"this host runs no programs for i386 ({error.strerror or error})") from error
        with contextlib.suppress(ProcessLookupError, PermissionError):
            resource.prlimit(self._process.pid, resource.RLIMIT_CPU, (SECONDS, SECONDS))
        self._deadline = time.monotonic() + WALL_SECONDS

    def poll(self) -> list[Ran] | None:
        """What it did with each input, None while it runs; raises CannotRun. It writes less than a pipe holds."""
        assert self._process is not None and self._process.stdout is not None
        code = self._process.poll()
        if code is None:
            if time.monotonic() > self._deadline:
                raise CannotRun(f"it did not end within {WALL_SECONDS:g} s on this host")
            return None
        if code == 2:
            raise CannotRun("this host has no seccomp, without which the guest's code is not run on it")
        if code:
            raise CannotRun(f"it was ended {f'by signal {-code}' if code < 0 else f'with code {code}'} on this host")
        data = self._process.stdout.read(_OUT_BYTES)
        return [_ran(fields) for fields in _RECORD.iter_unpack(data[: len(data) // _RECORD.size * _RECORD.size])]

    def close(self) -> None:
        """Ends it."""
        if self._process is not None:
            self._process.kill()
            with self._process:
                pass
            self._process = None
        self._file.close()


def _ran(fields: tuple[int, ...]) -> Ran:
    old, new, count, *words = fields
    triples = [(words[at], words[at + 1], words[at + 2]) for at in range(0, 3 * min(count, 16), 3)]
    return Ran(old, new, tuple(triples))


def _segment(offset: int, address: int, size: int, flags: int) -> bytes:
    """Elf32_Phdr (System V ABI, chapter 5), PT_LOAD."""
    return struct.pack("<8I", 1, offset, address, address, size, size, flags, _PAGE)


def _elf(headers: Sequence[bytes]) -> bytes:
    """Elf32_Ehdr of an executable for i386 that begins with the driver, and the program headers."""
    identity = b"\x7fELF\1\1\1".ljust(16, b"\0")
    fields = struct.pack("<2H5I6H", 2, 3, 1, _CODE, 52, 0, 0, 52, 32, len(headers), 0, 0, 0)
    return identity + fields + b"".join(headers)
