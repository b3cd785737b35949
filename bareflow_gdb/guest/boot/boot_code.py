"""Where does each boot stage begin, and what is the CPU about to execute, in real mode too?

In real mode an instruction is at CS base + EIP, and its operands are 16 bits wide; between setting CR0.PE and
the far jump the CPU is in protected mode with 16-bit code (Intel SDM volume 3A, 9.9.1).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData, BareflowError
from bareflow_gdb.guest.base.values import Address, Word
from bareflow_gdb.memory.paging import is_paged, seen_by_code
from bareflow_gdb.memory.protocol import DEVICES_END, DEVICES_START, Memory

LONGEST_INSTRUCTION = 15

# `mov cr0, r32`, then within a few bytes a far jump: with a 16-bit or, after 0x66, a 32-bit offset.
_SWITCH = re.compile(rb"\x0f\x22[\xc0-\xc7].{0,16}?(?:\x66\xea(.{4})\x08\0|\xea(..)\x08\0)", re.DOTALL)
_CODE_FLAGS = re.compile(r"^CS *= *\S+ +\S+ +\S+ +([0-9a-f]+)", re.MULTILINE)
_PE, _VM = 1 << 0, 1 << 17
_CODE_32 = 1 << 22
_ROM_ALIAS = 0xFFF00000

Read = Callable[[int, int], bytes]


@dataclass(frozen=True)
class CodePlace:
    """What the CPU executes next."""

    mode: str
    """"real", "protected", "virtual 8086"."""
    bits: int
    """16 or 32: how its instructions are decoded."""
    cs: Word
    base: Address
    """Of the code segment."""
    eip: Address
    linear: Address
    """base + eip: where the instruction is in memory, while paging is off."""
    paged: bool = False
    """Paging is on: `linear` leads to memory through the page tables."""

    @property
    def text(self) -> str:
        """As a boot loader's author writes it: segment:offset in 16-bit code."""
        if self.bits == 16:
            return f"{self.cs:04x}:{self.eip:04x}"
        return f"{self.linear:08x}"


@dataclass(frozen=True)
class BootInstruction:
    """One decoded instruction of boot code."""

    linear: Address
    size: int
    code: str
    """Its bytes in hexadecimal."""
    text: str

    @property
    def leaves(self) -> bool:
        """It calls, interrupts or repeats: execution comes back behind it."""
        return self.text.startswith(("call", "lcall", "int", "rep", "loop"))


def is_bios(address: int) -> bool:
    """Is it where a PC has ROM: below 1 MiB behind the RAM, or at the end of the address space, where it resets to?"""
    return DEVICES_START <= address < DEVICES_END or address >= _ROM_ALIAS


def code_place(memory: Memory) -> CodePlace:
    """By the CPU's registers, which are asked for now; raises BareflowError. 1 packet."""
    cpu = memory.cpu()
    cs = cpu.segments["cs"]
    mode = "protected"
    if not cpu.control["cr0"] & _PE:
        mode = "real"
    elif cpu.general["eflags"] & _VM:
        mode = "virtual 8086"
    eip = cpu.general["eip"]
    linear = Address(cs.base + eip & 0xFFFFFFFF)
    bits = _code_bits(memory, mode)
    return CodePlace(mode, bits, Word(cs.selector), Address(cs.base), Address(eip), linear, is_paged(cpu))


def _code_bits(memory: Memory, mode: str) -> int:
    """The D flag of CS decides; a source that does not tell it is believed to be past the far jump."""
    if mode != "protected":
        return 16
    try:
        found = _CODE_FLAGS.search(memory.monitor("info registers"))
    except BareflowError:
        return 32
    return 32 if found is None or int(found[1], 16) & _CODE_32 else 16


def decode(code: bytes, address: int, bits: int, count: int) -> list[BootInstruction]:
    """At most `count` instructions of 16- or 32-bit code that is at `address`; offsets stay as in the code.

    Branch targets of 16-bit code are offsets in its segment, so pass the offset to have them right.
    """
    from bareflow_gdb.guest.code.code_diff import disassembler

    found = []
    for start, size, mnemonic, operands in disassembler(bits).disasm_lite(code, address, count):
        data = code[start - address : start - address + size]
        found.append(BootInstruction(Address(start), size, data.hex(), f"{mnemonic} {operands}".rstrip()))
    return found


def next_instruction(memory: Memory, place: CodePlace) -> BootInstruction:
    """The instruction at a place; raises ReadError where there is no RAM, as in the BIOS."""
    code_memory = seen_by_code(memory, memory.cpu()) if place.paged else memory
    code = code_memory.read(place.linear, LONGEST_INSTRUCTION, "next instruction")
    return replace(decode(code, place.eip, place.bits, 1)[0], linear=place.linear)


@dataclass(frozen=True)
class StageCode:
    """Where a boot stage begins and how that is known."""

    stage: str
    address: Address
    known_by: str


STAGES = ("stage1", "stage2", "pm", "kernel")


def stage_code(stage: str, read: Read, source: str) -> StageCode:
    """A stage's first instruction. `read(address, size)` gives what the boot loader will have in memory there.

    `source` says whose bytes those are. Raises BadData when the stage cannot be found in them.
    """
    if stage == "stage1":
        return StageCode(stage, Address(layouts.const("BF_STAGE1_ADDRESS")), "where the BIOS loads it")
    if stage == "stage2":
        return StageCode(stage, Address(layouts.const("BF_STAGE2_ADDRESS")), "where stage 1 loads it")
    if stage == "pm":
        return StageCode(stage, _protected_entry(read), f"the far jump of stage 2 in {source}")
    base = layouts.const("BF_IMAGE_BASE")
    header = read(base, layouts.size("bf_image_header"))
    if int.from_bytes(header[:4], "little") != layouts.const("BF_FLUD_MAGIC"):
        raise BadData(
            f"there is no kernel image at 0x{base:x} in {source}: `bf break-boot pm` comes first, or another "
            "loader boots here"
        )
    # Our header begins with a jump over itself behind the magic; a stock kernel is called at its first byte.
    if header[4] == 0xEB:
        entry = Address(layouts.const("BF_IMAGE_ENTRY"))
        return StageCode(stage, entry, f"the image header in {source}")
    return StageCode(stage, Address(base), f"a stock image in {source}")


def _protected_entry(read: Read) -> Address:
    start = layouts.const("BF_STAGE2_ADDRESS")
    found = _SWITCH.search(read(start, layouts.const("BF_STAGE2_SECTORS") * 512))
    if found is None:
        raise BadData(
            "stage 2 is not in memory, or it does not switch to protected mode by `mov cr0` and a far jump: "
            "`bf break-boot stage2` first"
        )
    return Address(int.from_bytes(found[1] or found[2], "little"))
