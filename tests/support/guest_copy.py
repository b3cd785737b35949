"""How does a test damage a guest without booting one for each damage? A copy of its RAM, registers and serial log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bareflow_gdb.checks import registry
from bareflow_gdb.checks.registry import Findings
from bareflow_gdb.checks.subject import Subject
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.memory.cpu import CpuRegisters
from bareflow_gdb.memory.protocol import CheckedMemory
from bareflow_gdb.qemu.machine import Machine


class GuestCopy(CheckedMemory):
    """What was in the machine at one moment; `undone` takes back what was written."""

    name = "copy"

    def __init__(self, machine: Machine) -> None:
        memory = machine.memory()
        super().__init__(memory.ranges)
        self.ram = bytearray(memory.ranges[-1][1])
        for start, end in memory.ranges:
            self.ram[start:end] = memory.read(start, end - start, "RAM")
        self.registers = memory.cpu()
        self.serial = machine.serial()
        self._before: list[tuple[int, bytes]] = []
        self._subject = Subject(lambda: Guest.attach(self).kernel(), serial=lambda: self.serial)

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Everything is as it was afterwards."""
        kept = self.registers, self.serial
        try:
            yield
        finally:
            for address, data in reversed(self._before):
                self.ram[address : address + len(data)] = data
            self._before.clear()
            self.registers, self.serial = kept

    def findings(self) -> Findings:
        """What all checks say."""
        self._subject = self._subject.again()
        return registry.run(self._subject)

    def cpu(self) -> CpuRegisters:
        return self.registers

    def _fetch(self, address: int, size: int) -> bytes:
        return bytes(self.ram[address : address + size])

    def _store(self, address: int, data: bytes) -> None:
        self._before.append((address, bytes(self.ram[address : address + len(data)])))
        self.ram[address : address + len(data)] = data
