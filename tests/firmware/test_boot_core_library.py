"""Does the kernel's own library compute what C and Python do: 64-bit division, memory, strings, printf, heap?

The kernel's sources, compiled for i686, run in unicorn.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from i686_program import DATA, I686Program
from unicorn.x86_const import UC_X86_REG_EDX

ROOT = Path(__file__).parents[2]
KERNEL = ROOT / "firmware" / "kernel"
INCLUDES = (KERNEL, ROOT / "bareflow_gdb" / "abi")
WORD = 1 << 32
LONG = 1 << 64

# The devices that printf.c and heap.c print on, and shims that pass 64-bit values as pairs of words.
SHIMS = """
#include "defs.h"
void serial_putchar(char c) { (void)c; }
void terminal_putchar(char c) { (void)c; }
size_t print_u64(char *out, size_t size, const char *format, uint64_t value);
size_t print_u64(char *out, size_t size, const char *format, uint64_t value) {
    _Pragma("clang diagnostic push") _Pragma("clang diagnostic ignored \\"-Wformat-nonliteral\\"")
    _Pragma("clang diagnostic ignored \\"-Wformat-security\\"")
    return ksnprintf(out, size, format, value);
    _Pragma("clang diagnostic pop")
}
size_t print_words(char *out, size_t size, const char *format, uint32_t a, uint32_t b, uint32_t c);
size_t print_words(char *out, size_t size, const char *format, uint32_t a, uint32_t b, uint32_t c) {
    return ksnprintf(out, size, format, a, b, c);
}
"""

longs = st.integers(0, LONG - 1) | st.builds(
    lambda bits, low: (1 << bits) - low & LONG - 1, st.integers(0, 64), st.integers(0, 2)
)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> I686Program:
    directory = tmp_path_factory.mktemp("core")
    shims = directory / "shims.c"
    shims.write_text(SHIMS)
    sources = [KERNEL / name for name in ("int64.c", "string.c", "printf.c", "heap.c")]
    return I686Program(directory, [*sources, shims], includes=INCLUDES)


def divide(program: I686Program, function: str, a: int, b: int) -> int:
    """The 64-bit result, unsigned, of a compiler runtime function."""
    low = program.run(function, a % WORD, a >> 32 & WORD - 1, b % WORD, b >> 32 & WORD - 1) % WORD
    return int(program.machine.reg_read(UC_X86_REG_EDX)) << 32 | low


def signed(value: int) -> int:
    return value - LONG if value >> 63 else value


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(longs, longs.filter(bool))
@example(LONG - 1, 1)
@example(LONG - 1, LONG - 1)
@example(LONG - 1, WORD)
@example(LONG - 1, WORD + 1)
@example(LONG - 1, (1 << 63) + 1)
@example(1 << 63, LONG - 1)
def test_division_of_64_bit_integers_is_pythons(program: I686Program, a: int, b: int) -> None:
    assert divide(program, "__udivdi3", a, b) == a // b
    assert divide(program, "__umoddi3", a, b) == a % b
    x, y = signed(a), signed(b)
    quotient = abs(x) // abs(y) * (1 if (x < 0) == (y < 0) else -1)  # C rounds towards zero
    assert divide(program, "__divdi3", a, b) == quotient % LONG
    assert divide(program, "__moddi3", a, b) == (x - quotient * y) % LONG


@pytest.mark.parametrize("function", ["memcpy", "memmove"])
def test_copies_of_every_small_size_and_alignment_touch_only_the_target(program: I686Program, function: str) -> None:
    noise = random.Random(1).randbytes(256)
    for size in [*range(12), 63, 64, 65]:
        for source in range(4):
            for target in range(4):
                before = bytearray(noise)
                program.write(DATA, bytes(before))
                assert program.run(function, DATA + 128 + target, DATA + source, size) == DATA + 128 + target
                before[128 + target : 128 + target + size] = noise[source : source + size]
                assert program.read(DATA, 256) == before


@pytest.mark.parametrize("distance", [-70, -5, -4, -1, 0, 1, 3, 4, 70])
def test_memmove_copies_overlapping_memory_right_both_ways(program: I686Program, distance: int) -> None:
    noise = random.Random(2).randbytes(256)
    program.write(DATA, noise)
    program.run("memmove", DATA + 100 + distance, DATA + 100, 65)
    assert program.read(DATA + 100 + distance, 65) == noise[100:165]


def test_memset_fills_exactly_with_the_low_byte(program: I686Program) -> None:
    for size in [*range(10), 64]:
        program.write(DATA, bytes(80))
        program.run("memset", DATA + 3, 0x1A5, size)
        assert program.read(DATA, 80) == bytes(3) + b"\xa5" * size + bytes(77 - size)


@pytest.mark.parametrize(
    ("a", "b", "size"),
    [(b"", b"", 3), (b"abc", b"abd", 3), (b"abc", b"abd", 2), (b"ab", b"abc", 5), (b"\xff", b"\x01", 1)],
)
def test_comparisons_are_of_unsigned_bytes(program: I686Program, a: bytes, b: bytes, size: int) -> None:
    program.write(DATA, a.ljust(16, b"\0") + b.ljust(16, b"\0"))

    def sign(value: int) -> int:
        return (value > 0) - (value < 0)

    def order(x: bytes, y: bytes) -> int:
        return (x > y) - (x < y)

    assert sign(program.run("strcmp", DATA, DATA + 16)) == order(a, b)
    assert sign(program.run("strncmp", DATA, DATA + 16, size)) == order(a[:size], b[:size])
    assert program.run("strlen", DATA) == len(a)


def test_strncpy_fills_with_zeros_and_does_not_terminate_a_full_target(program: I686Program) -> None:
    program.write(DATA, b"hello\0".ljust(16, b"x") + b"#" * 16)
    program.run("strncpy", DATA + 16, DATA, 8)
    assert program.read(DATA + 16, 16) == b"hello\0\0\0" + b"#" * 8
    program.run("strncpy", DATA + 16, DATA, 3)
    assert program.read(DATA + 16, 4) == b"hell"


def printed(program: I686Program, function: str, form: str, *arguments: int, size: int = 100) -> str:
    program.write(DATA, form.encode() + b"\0")
    program.write(DATA + 256, b"#" * 256)
    length = program.run(function, DATA + 256, size, DATA, *arguments)
    content = program.read(DATA + 256, 256)
    assert content[size:] == b"#" * (256 - size), "wrote past the buffer"
    text = content.split(b"\0")[0].decode("latin-1") if size else ""
    assert len(text) == min(length, max(size - 1, 0))
    return text


@given(st.integers(0, WORD - 1), st.sampled_from(["%d", "%u", "%x", "%X", "%08x", "%-12d|", "%12u", "%05d", "%i"]))
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_numbers_print_as_c_prints_them(program: I686Program, value: int, form: str) -> None:
    is_signed = form.rstrip("|")[-1] in "di"
    number = value - WORD if is_signed and value >> 31 else value
    assert printed(program, "print_words", form, value) == form.replace("u", "d") % number


@given(longs, st.sampled_from(["%lld", "%llu", "%llx", "%016llx", "%-22llu|"]))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_64_bit_numbers_print_as_c_prints_them(program: I686Program, value: int, form: str) -> None:
    number = signed(value) if "d" in form else value
    expected = form.replace("ll", "").replace("u", "d") % number
    assert printed(program, "print_u64", form, value % WORD, value >> 32) == expected


def test_characters_strings_and_pointers_print(program: I686Program) -> None:
    text = DATA + 200
    program.write(text, b"pool\0")
    assert printed(program, "print_words", "[%s]", text) == "[pool]"
    assert printed(program, "print_words", "[%6s|%-6s|%.2s]", text, text, text) == "[  pool|pool  |po]"
    assert printed(program, "print_words", "%c%c%%", ord("o"), ord("k")) == "ok%"
    assert printed(program, "print_words", "%p", 0x10020) == "0x00010020"
    assert printed(program, "print_words", "%s", 0) == "(null)"


def test_a_form_it_does_not_know_is_printed_as_it_stands(program: I686Program) -> None:
    assert printed(program, "print_words", "%q %f 100%") == "%q %f 100"


@pytest.mark.parametrize("size", [0, 1, 4, 5, 6])
def test_a_full_buffer_is_cut_and_terminated(program: I686Program, size: int) -> None:
    assert printed(program, "print_words", "%05d", 12345, size=size) == "12345"[: max(size - 1, 0)]


def test_the_heap_hands_out_aligned_blocks_until_it_is_used_up(program: I686Program) -> None:
    blocks = [program.run("malloc", size) for size in (1, 16, 17, 0x30000)]
    assert blocks == [0x100000, 0x100010, 0x100020, 0x100040]
    program.run("free", blocks[-1])
    assert program.run("malloc", 0x10000) == 0
    assert program.run("malloc", 0x100000000 - 4) == 0
    assert program.run("calloc", 0x10001, 0x10000) == 0
    program.write(0x130040, b"\xff" * 64)
    zeros = program.run("calloc", 16, 4)
    assert program.read(zeros, 64) == bytes(64)
    assert program.run("heap_free_bytes") == 0x40000 - 0x30040 - 64
