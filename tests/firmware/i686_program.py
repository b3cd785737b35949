"""How does a test run i686 code of the firmware without a machine? Linked, it runs in unicorn."""

from __future__ import annotations

import io
import struct
import subprocess
from pathlib import Path

from elftools.elf.elffile import ELFFile
from unicorn import UC_ARCH_X86, UC_MODE_32, Uc
from unicorn.x86_const import (
    UC_X86_REG_EAX,
    UC_X86_REG_EBP,
    UC_X86_REG_EBX,
    UC_X86_REG_EDI,
    UC_X86_REG_ESI,
    UC_X86_REG_ESP,
    UC_X86_REG_FPCW,
)

I686_FLAGS = [
    *("--target=i686-unknown-none-elf", "-march=i686", "-mno-sse", "-mno-mmx", "-fno-omit-frame-pointer"),
    *("-ffreestanding", "-fno-builtin", "-O2", "-Wall", "-Wextra", "-Werror"),
]
BASE = 0x10000
IMAGE_SPACE = 0x200000
DATA = 0x400000
DATA_SPACE = 0x800000
STACK_TOP = 0xE00000
STACK_SPACE = 0x10000
RETURN_ADDRESS = 0xF00000
CALLEE_SAVED = {
    UC_X86_REG_EBX: 0x11223344,
    UC_X86_REG_ESI: 0x22334455,
    UC_X86_REG_EDI: 0x33445566,
    UC_X86_REG_EBP: 0x44556677,
}


class Calls:
    """A 32-bit machine with a stack: `call` runs a cdecl function and checks what it must leave as it was."""

    def __init__(self) -> None:
        self.machine = Uc(UC_ARCH_X86, UC_MODE_32)
        self.machine.mem_map(0, IMAGE_SPACE)
        self.machine.mem_map(DATA, DATA_SPACE)
        self.machine.mem_map(STACK_TOP - STACK_SPACE, STACK_SPACE)
        self.machine.mem_map(RETURN_ADDRESS, 0x1000)
        self.machine.reg_write(UC_X86_REG_FPCW, 0x37F)  # as after FNINIT; unicorn begins with 0

    def write(self, address: int, data: bytes) -> None:
        self.machine.mem_write(address, data)

    def read(self, address: int, size: int) -> bytes:
        return bytes(self.machine.mem_read(address, size))

    def call(self, address: int, *arguments: int) -> int:
        """Signed EAX. Fails when EBX, ESI, EDI, EBP or ESP come back changed, or after ten seconds."""
        words = [RETURN_ADDRESS, *(argument & 0xFFFFFFFF for argument in arguments)]
        stack = STACK_TOP - 4 * len(words) - 64
        self.machine.mem_write(stack, struct.pack(f"<{len(words)}I", *words))
        self.machine.reg_write(UC_X86_REG_ESP, stack)
        for register, value in CALLEE_SAVED.items():
            self.machine.reg_write(register, value)
        self.machine.emu_start(address, RETURN_ADDRESS, timeout=10_000_000)
        for register, value in CALLEE_SAVED.items():
            assert self.machine.reg_read(register) == value, "a callee-saved register was changed"
        assert self.machine.reg_read(UC_X86_REG_ESP) == stack + 4, "the function did not return"
        result: int = self.machine.reg_read(UC_X86_REG_EAX)
        return result - (1 << 32) if result >> 31 else result


class I686Program(Calls):
    """Sources and archives linked at BASE; functions are called by name."""

    def __init__(
        self, directory: Path, sources: list[Path], *libraries: Path, includes: tuple[Path, ...] = (), keep: str = ""
    ) -> None:
        """`keep` names an archive's symbol that is linked though no source calls it."""
        super().__init__()
        objects = []
        for source in sources:
            target = directory / f"{source.name}.i686.o"
            compiler, standard = ("clang++-19", "c++17") if source.suffix == ".cpp" else ("clang-19", "c11")
            flags = [*I686_FLAGS, f"-std={standard}", *(f"-I{path}" for path in includes)]
            if source.suffix == ".cpp":
                flags += ["-fno-exceptions", "-fno-rtti"]
            subprocess.run([compiler, *flags, "-c", source, "-o", target], check=True)
            objects.append(target)
        elf = directory / "program.elf"
        link = ["ld.lld-19", "-m", "elf_i386", "-e", "0", f"--image-base={BASE:#x}", "--fatal-warnings"]
        link += [f"--undefined={keep}"] if keep else []
        subprocess.run([*link, *objects, *libraries, "-o", elf], check=True)

        image = ELFFile(io.BytesIO(elf.read_bytes()))
        for segment in image.iter_segments("PT_LOAD"):
            self.write(segment["p_vaddr"], segment.data())
        table = image.get_section_by_name(".symtab")
        self.symbols = {symbol.name: symbol["st_value"] for symbol in table.iter_symbols()}

    def run(self, name: str, *arguments: int) -> int:
        return self.call(self.symbols[name], *arguments)
