"""What does one call of a guest function do? Unicorn runs it over a copy of guest memory.

Memory is given to it in blocks, when it is first touched: what was never touched costs nothing, and what was never
written need not be compared. Unicorn computes the x87's transcendental functions in double precision, and does not
say so: nothing here may rest on what x87 code computes, only on the number of registers that it leaves pushed.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unicorn import (
    UC_ARCH_X86,
    UC_HOOK_INSN,
    UC_HOOK_INTR,
    UC_HOOK_MEM_INVALID,
    UC_MEM_WRITE_PROT,
    UC_MEM_WRITE_UNMAPPED,
    UC_MODE_32,
    UC_PROT_ALL,
    UC_PROT_EXEC,
    UC_PROT_READ,
    Uc,
    UcError,
)
from unicorn import x86_const as x86

from bareflow_gdb.recompile.verify.trial import BLOCK, Span

MOST_BLOCKS = 256
"""16 MiB of guest memory."""

_TRANSLATED_BYTES = 32 << 20
_STACK, _STACK_BYTES = 0xF0000000, 1 << 18
_TOP = _STACK_BYTES - 256
_BELOW = 1 << 20
"""What is touched there was meant to be stack."""
_RETURN = 0xFFFF0000
_SAVED = {"EBX": 0x1B1B1B1B, "ESI": 0x51515151, "EDI": 0xD1D1D1D1, "EBP": _STACK + _STACK_BYTES - 64}
_CALLER = bytes(range(1, 201))
"""What lies above the arguments."""
_FLAGS, _DIRECTION = 0x202, 0x400
_CONTROL = 0x37F
"""The x87's control word, as after FNINIT."""


@dataclass(frozen=True)
class Effect:
    """What a call did."""

    ended: str
    """Empty when it returned, else what it did instead."""
    exhausted: bool
    """It went on when its instructions, or its stack, were used up."""
    result: int
    broken: str
    """What of its caller it did not keep; empty when it kept all."""
    memory: Mapping[int, bytes]
    """The blocks that it changed, by address."""


class Emulator:
    """Calls guest code over one copy of guest memory; each call finds it as it was copied.

    There is one of a process, for one trial after the other: unicorn keeps what it once took.
    """

    def __init__(self, snapshot: mmap.mmap | bytes) -> None:
        self._snapshot = snapshot
        self._ranges: Sequence[Span] = ()
        self._placed: Mapping[int, bytes] = {}
        self._blocks: dict[int, mmap.mmap] = {}
        self._pristine: dict[int, bytes] = {}
        self._written: set[int] = set()
        """Blocks that some call wrote to."""
        self._why, self._exhausted = "", False
        self._stack = mmap.mmap(-1, _STACK_BYTES)
        self._uc = Uc(UC_ARCH_X86, UC_MODE_32)
        self._uc.ctl_set_tcg_buffer_size(_TRANSLATED_BYTES)
        self._uc.mem_map_ptr(_STACK, _STACK_BYTES, UC_PROT_ALL, _place(self._stack))
        self._uc.hook_add(UC_HOOK_MEM_INVALID, self._touched)
        self._uc.hook_add(UC_HOOK_INTR, self._exception)
        self._uc.hook_add(UC_HOOK_INSN, self._device, None, 1, 0, x86.UC_X86_INS_IN)
        self._uc.hook_add(UC_HOOK_INSN, self._device, None, 1, 0, x86.UC_X86_INS_OUT)
        self._state = self._fresh()

    def load(self, ranges: Sequence[Span], placed: Mapping[int, bytes]) -> None:
        """Begins with the snapshot as it is now.

        `ranges`: what of it is guest memory; `placed`: bytes that lie there instead of what was copied, by address.
        """
        for block in self._blocks:
            self._uc.mem_unmap(block, BLOCK)
        self._uc.ctl_flush_tb()
        self._ranges, self._placed = ranges, placed
        self._blocks, self._pristine, self._written = {}, {}, set()

    def call(self, entry: int, a: int, b: int, most: int) -> Effect:
        """Calls `entry` with two arguments and lets it execute at most that many instructions."""
        self._why, self._exhausted = "", False
        self._stack[:] = bytes(_STACK_BYTES)
        self._stack[_TOP : _TOP + 12] = struct.pack("<Iii", _RETURN, a, b)
        self._stack[_TOP + 12 : _TOP + 12 + len(_CALLER)] = _CALLER
        # All of it: after an exception unicorn would take the next one for a double fault.
        self._uc.context_restore(self._state)
        try:
            self._uc.emu_start(entry, _RETURN, count=most)
            ended = self._why or self._end(most)
        except UcError as error:
            ended = self._why or f"stops at 0x{self._read('EIP'):08x}: {_plain(error)}"
        memory = self._changes()
        return Effect(ended, self._exhausted, self._read("EAX"), "" if ended else self._broken(), memory)

    def _fresh(self) -> Any:
        """The CPU's whole state at a call."""
        values = {"ESP": _STACK + _TOP, "EFLAGS": _FLAGS, "EAX": 0, "ECX": 0, "EDX": 0, **_SAVED}
        values |= {"FPCW": _CONTROL, "FPSW": 0, "FPTAG": 0xFFFF}
        for name, value in values.items():
            self._uc.reg_write(_register(name), value)
        return self._uc.context_save()

    def _read(self, name: str) -> int:
        return int(self._uc.reg_read(_register(name)))

    def _end(self, most: int) -> str:
        at = self._read("EIP")
        if at == _RETURN:
            return ""
        block = self._blocks.get(at - 1 & -BLOCK)
        if block is not None and block[(at - 1) % BLOCK] == 0xF4:
            return f"halts at 0x{at - 1:08x}"
        self._exhausted = True
        return f"does not return within {most:,} instructions"

    def _broken(self) -> str:
        for name, value in _SAVED.items():
            if self._read(name) != value:
                return f"does not keep {name}"
        stack = self._read("ESP") - (_STACK + _TOP + 4)
        if stack:
            return f"returns with ESP {abs(stack)} bytes too {'high' if stack > 0 else 'low'}"
        if self._read("EFLAGS") & _DIRECTION:
            return "returns with the direction flag set"
        tags = self._read("FPTAG")
        if pushed := sum(tags >> 2 * index & 3 != 3 for index in range(8)):
            return f"leaves {pushed} x87 {'register' if pushed == 1 else 'registers'} pushed"
        if self._read("FPCW") != _CONTROL:
            return "changes the x87's control word"
        if self._stack[_TOP + 12 : _TOP + 12 + len(_CALLER)] != _CALLER:
            return "writes over its caller's frame"
        return ""

    def _changes(self) -> dict[int, bytes]:
        """What differs from the copy, which is put back."""
        found = {}
        for block in self._written:
            now, before = self._blocks[block], self._pristine[block]
            data = now[:]
            if data != before:
                found[block] = data
                now[:] = before
                # It may have been code.
                self._uc.ctl_remove_cache(block, block + BLOCK)
        return found

    @property
    def written(self) -> tuple[int, ...]:
        """The blocks that some call wrote to."""
        return tuple(sorted(self._written))

    def pristine(self, block: int) -> bytes:
        """A block as every call finds it."""
        return self._pristine[block]

    def _touched(self, _: Any, access: int, address: int, size: int, *__: object) -> bool:
        block = address & -BLOCK
        if access == UC_MEM_WRITE_PROT and block in self._blocks:
            self._uc.mem_protect(block, BLOCK, UC_PROT_ALL)
            self._written.add(block)
            return True
        if _STACK - _BELOW <= address < _STACK:
            self._why, self._exhausted = f"needs more than {_STACK_BYTES:,} bytes of stack", True
            return False
        inside = any(start <= block and block + BLOCK <= end for start, end in self._ranges)
        if block in self._blocks or not inside or len(self._blocks) >= MOST_BLOCKS:
            self._why = f"touches {size} bytes at 0x{address:08x}, outside of the memory that was copied"
            return False
        self._pristine[block] = self._content(block)
        self._blocks[block] = mmap.mmap(-1, BLOCK)
        self._blocks[block][:] = self._pristine[block]
        writes = access == UC_MEM_WRITE_UNMAPPED
        self._uc.mem_map_ptr(
            block, BLOCK, UC_PROT_ALL if writes else UC_PROT_READ | UC_PROT_EXEC, _place(self._blocks[block])
        )
        if writes:
            self._written.add(block)
        return True

    def _content(self, block: int) -> bytes:
        content = bytearray(self._snapshot[block : block + BLOCK])
        for address, data in self._placed.items():
            first, last = max(address, block), min(address + len(data), block + BLOCK)
            if first < last:
                content[first - block : last - block] = data[first - address : last - address]
        return bytes(content)

    def _exception(self, uc: Any, vector: int, *_: object) -> None:
        self._why = f"raises exception {vector} at 0x{self._read('EIP'):08x}"
        uc.emu_stop()

    def _device(self, uc: Any, port: int, *_: object) -> int:
        self._why = f"uses the device at port 0x{port:x}"
        uc.emu_stop()
        return 0


def _register(name: str) -> int:
    return int(getattr(x86, f"UC_X86_REG_{name}"))


def _place(memory: mmap.mmap) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(memory))


def _plain(error: UcError) -> str:
    return str(error).partition(" (")[0].lower()
