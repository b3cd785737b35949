"""The kernel's tables as the tests of the firmware read them: by the ABI's layouts, without the decoders."""

from __future__ import annotations

import json
import re
import struct
import zlib
from typing import Any

from machines import wait_for

from bareflow_gdb.abi import layouts
from bareflow_gdb.qemu.machine import Machine


def text(field: Any) -> str:
    return bytes(field).split(b"\0", 1)[0].decode()


class Kernel:
    """One machine's kernel, read and written while it runs."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.memory = machine.memory()
        header = self.record("bf_image_header", layouts.const("BF_IMAGE_BASE"))
        self.root_address = header.root
        self.root = self.record("bf_root", header.root)

    def read(self, address: int, size: int) -> bytes:
        self.memory.invalidate()
        return self.memory.read(address, size, "test")

    def write(self, address: int, data: bytes) -> None:
        self.memory.write(address, data, "test")

    def write_word(self, address: int, value: int) -> None:
        self.write(address, struct.pack("<I", value))

    def record(self, name: str, address: int) -> Any:
        return layouts.unpack(name, self.read(address, layouts.size(name)))

    def records(self, name: str, address: int, count: int) -> list[Any]:
        return list(layouts.unpack_array(name, self.read(address, layouts.size(name) * count), count))

    def set_root(self, word: str, value: int) -> None:
        self.write_word(self.root_address + layouts.offset("bf_root", word), value)

    @property
    def status(self) -> Any:
        return self.record("bf_status", self.root.status)

    @property
    def functions(self) -> dict[str, Any]:
        found = self.records("bf_function", self.root.function_table, self.status.function_count)
        return {text(function.name): function for function in found}

    def index(self, name: str) -> int:
        return list(self.functions).index(name)

    def versions(self, name: str | None = None) -> list[Any]:
        """All versions ever made that still have a record, by number."""
        table = self.records("bf_version", self.root.version_table, layouts.const("BF_MAX_VERSIONS"))
        used = [version for version in table if version.state != layouts.const("BF_VERSION_NONE")]
        if name is not None:
            index = self.index(name)
            used = [version for version in used if version.function == index]
        return sorted(used, key=lambda version: version.number)

    def profile(self, name: str) -> Any:
        profiler = self.record("function_profiler_t", self.root.function_profiler)
        return profiler.functions[self.functions[name].profiler_id]

    def pool(self, kind: str) -> Any:
        address = self.root.pools + layouts.const(f"BF_POOL_{kind}") * layouts.size("memory_pool_t")
        return self.record("memory_pool_t", address)

    def module_image(self, name: str) -> Any:
        index = self.functions[name].module
        address = self.root.module_images + index * layouts.size("bf_module_image")
        return self.record("bf_module_image", address)

    def shared_data(self, name: str) -> dict[str, Any]:
        function = self.functions[name]
        symbols = self.records("bf_symbol", function.symbols, function.symbol_count)
        return {text(symbol.name): symbol for symbol in symbols}

    def ring(self, number: int = 0) -> Any:
        return self.record("bf_ring_header", self.root.rings[number])

    def set_ring(self, word: str, value: int, number: int = 0) -> None:
        self.write_word(self.root.rings[number] + layouts.offset("bf_ring_header", word), value)

    def events(self, number: int = 0) -> list[Any]:
        """Every event still in the ring, oldest first; the guest must not be writing."""
        header = self.ring(number)
        records = self.records("bf_event", header.records, min(header.head, header.capacity))
        first = max(0, header.head - header.capacity)
        return [records[n % header.capacity] for n in range(first, header.head)]

    def events_of(self, *types: str) -> list[Any]:
        numbers = {layouts.const(f"BF_EVENT_{name}") for name in types}
        return [event for event in self.events() if event.type in numbers]

    def exports(self, heading: str) -> Any:
        """The JSON that the guest printed under a heading."""
        pattern = rf"=== {heading} ===\n--- BEGIN JSON ---\n(\{{.*?\}})\n--- END JSON ---\n"
        found = re.search(pattern, self.log, re.DOTALL)
        assert found, f"no {heading} on COM1"
        return json.loads(found[1])

    @property
    def log(self) -> str:
        return self.machine.serial().replace("\r\n", "\n")


class MailHost:
    """The host's side of one mailbox slot, move by move, with code that the test brings."""

    def __init__(self, kernel: Kernel, function: str) -> None:
        self.kernel = kernel
        self.number = kernel.index(function)
        mailbox = kernel.record("bf_mailbox", kernel.root.mailbox)
        self.address = mailbox.slots + self.number * mailbox.slot_size
        self.staging = mailbox.staging + self.number * mailbox.staging_size
        self.doorbell = kernel.root.mailbox + layouts.offset("bf_mailbox", "doorbell")

    @property
    def slot(self) -> Any:
        return self.kernel.record("bf_mail_slot", self.address)

    def set(self, field: str, value: int) -> None:
        self.kernel.write_word(self.address + layouts.offset("bf_mail_slot", field), value)

    def move(self, state: str) -> None:
        self.set("state", layouts.const(f"BF_MAIL_{state}"))

    def ring_doorbell(self) -> None:
        self.kernel.write_word(self.doorbell, 1)

    def ask(self, level: int) -> Any:
        """Ask for a level; the slot once it is requested."""
        self.set("ask", level + 1)
        self.ring_doorbell()
        return self.wait_for("REQUESTED")

    def wait_for(self, state: str) -> Any:
        wanted = layouts.const(f"BF_MAIL_{state}")

        def reached() -> Any:
            slot = self.slot
            return slot if slot.state == wanted else None

        return wait_for(reached, f"slot {self.number} {state}")

    def control(self, word: str, argument: int, until: str) -> None:
        """Set a control word, ring, and wait for what it becomes."""
        self.set("control_argument", argument)
        self.set("control", layouts.const(f"BF_CONTROL_{word}"))
        self.ring_doorbell()
        wanted = layouts.const(f"BF_CONTROL_{until}")
        wait_for(lambda: self.slot.control == wanted, f"control {word} becomes {until}")

    def stage(self, code: bytes, level: int = 3, **wrong: int) -> None:
        """Stage code as a correct host does, except for the words given; then READY."""
        slot = self.slot
        self.move("COMPILING")
        self.kernel.write(self.staging, code)
        words = {
            "code.offset": 0,
            "code.address": slot.code_address,
            "code.size": len(code),
            "code.crc": zlib.crc32(code),
            "rodata.offset": 0,
            "rodata.address": slot.rodata_address,
            "rodata.size": 0,
            "rodata.crc": 0,
            "entry_offset": 0,
            "level": level,
        }
        words.update({name.replace("__", "."): value for name, value in wrong.items()})
        for name, value in words.items():
            self.set(name, value)
        self.move("READY")

    def wait_until_done(self, request: int) -> Any:
        """The slot when this request has ended and the slot is idle again."""

        def ended() -> Any:
            slot = self.slot
            idle = slot.state == layouts.const("BF_MAIL_IDLE")
            return slot if idle and slot.done_request == request else None

        return wait_for(ended, f"request {request} done")


def returning(value: int) -> bytes:
    """i386 code of a function with an EBP frame that returns a constant."""
    return b"\x55\x89\xe5\xb8" + struct.pack("<i", value) + b"\x5d\xc3"
