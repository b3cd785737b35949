"""Does the guest tell code that its CPU executes from code that it does not?

The kernel's file is built for the host and compared with what the host itself takes (`recompile.machine_code`, by
capstone): all opcodes, all ModRM bytes.
"""

from __future__ import annotations

import ctypes
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from capstone import CS_ARCH_X86, CS_MODE_32, Cs

from bareflow_gdb.abi import layouts
from bareflow_gdb.build.module import read_module
from bareflow_gdb.recompile.machine_code import executed, vector_of
from bareflow_gdb.recompile.recipe import RUNGS

ROOT = Path(__file__).parents[2]
PREFIXES = frozenset(bytes.fromhex("26 2e 36 3e 64 65 66 67 f0 f2 f3"))
ESCAPE = 0x0F
# UD0 and UD1, at which compilers stop: capstone leaves their operand out.
STOPS = ("0fff", "0fb9")
AFTER = bytes.fromhex("05 11 22 33 44 55 66 77 88 12 13 14")
NO_INSTRUCTION = b"\x0f\x77" + bytes(14)  # EMMS
DECODER = Cs(CS_ARCH_X86, CS_MODE_32)
# What the host leaves out and the CPU executes, or what capstone does not know: segment registers 6 and 7, the 8087's
# FENI and FDISI, other encodings of FCOM, FXCH and FSTP, and hints.
MORE = {"8c", "8e", "db", "dc", "dd", "de", "df", "0f1c", "0f1d", "0f1e"}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    target = tmp_path_factory.mktemp("instructions") / "instructions.so"
    folders = [f"-I{ROOT / 'firmware/kernel'}", f"-I{ROOT / 'bareflow_gdb/abi'}"]
    flags = ["-std=gnu17", "-O2", "-Wall", "-Wextra", "-Werror", "-fsanitize-trap=all", "-fsanitize=undefined,bounds"]
    flags += ["-shared", "-fPIC", "-fuse-ld=lld-19", *folders]
    sources = [ROOT / "firmware/kernel" / name for name in ("instructions.c", "vector_instructions.c")]
    subprocess.run(["clang-19", *flags, *sources, "-o", target], check=True)
    return ctypes.CDLL(str(target))


def end(library: ctypes.CDLL, code: bytes, features: int = 0) -> int:
    """Where the guest finds the first bytes that are none."""
    # Exactly as long as the code is, so that what reads on would be seen.
    return int(library.instructions_end((ctypes.c_uint8 * len(code)).from_buffer_copy(code), len(code), features))


def taken_by_host(code: bytes) -> int:
    """Bytes of the first instruction; 0 = the host refuses it."""
    one = next(DECODER.disasm_lite(code, 0), None)
    return one[1] if one is not None and executed(one[2], one[3]) else 0


def cases(modrm_step: int) -> Iterator[tuple[str, bytes]]:
    for escape in (b"", bytes([ESCAPE])):
        for opcode in range(256):
            if not escape and (opcode in PREFIXES or opcode == ESCAPE):
                continue
            for modrm in range(0, 256, modrm_step):
                yield (escape + bytes([opcode])).hex(), escape + bytes([opcode, modrm]) + AFTER


@pytest.mark.parametrize(("prefix", "step"), [("", 1), ("66", 7), ("67", 7), ("f3", 7), ("f2", 7), ("f0", 7)])
def test_the_guest_takes_what_the_host_takes_and_finds_its_end(library: ctypes.CDLL, prefix: str, step: int) -> None:
    for opcode, rest in cases(step):
        if opcode in STOPS:
            continue
        code = bytes.fromhex(prefix) + rest
        size = taken_by_host(code)
        if size:
            assert end(library, code[:size] + NO_INSTRUCTION) == size, code.hex(" ")
        elif not prefix and opcode not in MORE:
            assert end(library, code) == 0, code.hex(" ")


@pytest.mark.parametrize(
    "text",
    [
        "0f 10 05 00 10 20 00",  # movups
        "66 0f 6f c1",  # movdqa
        "f2 0f 58 c1",  # addsd
        "f3 0f 2a c0",  # cvtsi2ss
        "0f fe c1",  # paddd, MMX
        "0f 77",  # emms
        "0f 0f c1 9e",  # pfadd, 3DNow!
        "c5 f8 58 c1",  # vaddps
        "c4 e2 79 18 c0",  # vbroadcastss
        "62 f1 7c 48 58 c1",  # vaddps zmm
        "8f e8 78 c2 c1 00",  # vprotd, XOP
        "66 0f 38 f6 c1",  # adcx
        "f2 0f 38 f1 c1",  # crc32
        "f3 0f b8 c1",  # popcnt
        "f3 0f bd c1",  # lzcnt, which an older CPU executes as another instruction
        "0f c7 f0",  # rdrand
        "c7 f8 00 00 00 00",  # xbegin
        "db 08",  # fisttp, SSE3
        "dd 48 04",
        "0f c3 01",  # movnti
        "0f ae 00",  # fxsave
        "0f 18 00",  # prefetchnta
        "0f 05",  # syscall
        "0f 34",  # sysenter
        "0f 01 f9",  # rdtscp
    ],
)
def test_what_an_i686_without_mmx_and_sse_has_not_is_found(library: ctypes.CDLL, text: str) -> None:
    code = bytes.fromhex(text)
    before = bytes.fromhex("55 89 e5")
    assert end(library, before + code + b"\xc3" * 16) == len(before)
    # Also at the very end.
    assert end(library, before + code) == len(before)


def test_what_the_end_cuts_off_is_not_judged_and_nothing_behind_it_is_read(library: ctypes.CDLL) -> None:
    whole = bytes.fromhex("55 89 e5 66 2e 0f 1f 84 00 00 00 00 00 c7 84 88 01 02 03 04 05 06 07 08 c8 01 00 00")
    for size in range(len(whole) + 1):
        assert end(library, whole[:size]) == size


def test_all_code_that_the_build_makes_is_taken(library: ctypes.CDLL, firmware: Path) -> None:
    images = sorted((firmware / "modules").glob("*.mod"))
    assert len(images) >= 48
    for path in images:
        code = read_module(path.read_bytes()).code
        assert end(library, code) == len(code), path.name


@pytest.mark.parametrize("text", ["0f b9 c0", "0f b9 40 02", "67 0f b9 40 07", "0f b9 05 00 10 20 00", "0f ff c1"])
def test_the_stop_of_a_compilers_own_check_is_taken_with_its_operand(library: ctypes.CDLL, text: str) -> None:
    code = bytes.fromhex(text)
    assert end(library, code + NO_INSTRUCTION) == len(code)


def vector_cases() -> Iterator[bytes]:
    """Every opcode of the three maps, with every prefix, legacy and VEX, with memory and registers."""
    operands = [bytes([modrm]) + AFTER for modrm in (0x44, 0xC1, 0xD1, 0xF1)]
    for prefix in range(4):
        legacy = (b"", b"\x66", b"\xf3", b"\xf2")[prefix]
        for opcode in range(256):
            for rest in operands:
                for escape in (b"\x0f", b"\x0f\x38", b"\x0f\x3a"):
                    yield legacy + escape + bytes([opcode]) + rest
                for wide in (0, 4):
                    # vvvv is the destination itself where it names no register: 1111.
                    for vvvv in (0x78, 0x40):
                        yield bytes([0xC5, 0x80 | vvvv | wide | prefix, opcode]) + rest
                        for number in (1, 2, 3):
                            yield bytes([0xC4, 0xE0 | number, vvvv | wide | prefix, opcode]) + rest


def test_vector_instructions_are_judged_as_the_host_judges_them(library: ctypes.CDLL) -> None:
    bit = {rung: layouts.const(f"BF_FEATURE_{rung.upper()}") for rung in RUNGS}
    different: dict[str, str] = {}
    agreed = dict.fromkeys(RUNGS, 0)
    for code in vector_cases():
        _, size, mnemonic, operands = next(DECODER.disasm_lite(code, 0, 1), (0, 0, "", ""))
        alone = code[:size] + NO_INSTRUCTION
        # What is no instruction at all, and what an i686 has, other tests look at.
        if size == 0 or end(library, alone) == size:
            continue
        guest = [rung for rung in RUNGS if end(library, alone, bit[rung]) == size]
        host = vector_of(code)
        if guest == [host]:
            agreed[host] += 1
        elif guest or (host and not is_wide_scalar(code, mnemonic)):
            different[f"{code[:size].hex(' ')} {mnemonic} {operands}"] = f"{guest}, by the host {host or 'none'}"
    assert not different
    assert min(agreed.values()) >= 20, agreed


def is_wide_scalar(code: bytes, mnemonic: str) -> bool:
    """Scalars ignore the bit for 256 bits, and no compiler sets it."""
    wide = code[0] in (0xC4, 0xC5) and code[2 if code[0] == 0xC4 else 1] & 4
    return bool(wide) and re.search(r"s[sd](2s[sid])?$|movs[sd]$|si2s[sd]$", mnemonic) is not None
