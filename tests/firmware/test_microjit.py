"""Does the micro-JIT emit the instructions it was asked for, and do its patterns compute what they say?

The emitter is built for the host and driven through ctypes; capstone decodes what it wrote, unicorn runs it.
"""

from __future__ import annotations

import ctypes
import itertools
import random
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from capstone import CS_ARCH_X86, CS_MODE_32, Cs
from i686_program import BASE, DATA, Calls, I686Program

ROOT = Path(__file__).parents[2]
SOURCES = [ROOT / "firmware/microjit/emitter.c", ROOT / "firmware/microjit/patterns.c"]
REGISTERS = ["eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi"]
OPERATIONS = {0: "add", 1: "or", 4: "and", 5: "sub", 6: "xor", 7: "cmp"}
CONDITIONS = ["jo", "jno", "jb", "jae", "je", "jne", "jbe", "ja", "js", "jns", "jp", "jnp", "jl", "jge", "jle", "jg"]
IMMEDIATES = [0, 1, -1, 127, 128, -128, -129, 0x12345678, 2**31 - 1, -(2**31)]
LOOP_MULTIPLY = 8
CONSTANT, COUNTER, ARGUMENT_B = range(3)
NUMBERS = [0, 1, -1, 2, 5, 20, 100, 2**31 - 1, -(2**31)]
FAILED = 0


class MicroJit(ctypes.Structure):
    """struct microjit"""

    _fields_ = (
        ("buffer", ctypes.c_void_p),
        ("capacity", ctypes.c_size_t),
        ("length", ctypes.c_size_t),
        ("failed", ctypes.c_bool),
    )


class Label(ctypes.Structure):
    """struct microjit_label"""

    _fields_ = (
        ("bound", ctypes.c_bool),
        ("uses", ctypes.c_uint32),
        ("position", ctypes.c_size_t),
        ("waiting", ctypes.c_size_t * 4),
    )


class Loop(ctypes.Structure):
    """struct microjit_loop"""

    _fields_ = (
        ("initial", ctypes.c_int32),
        ("constant", ctypes.c_int32),
        ("operand", ctypes.c_uint32),
        ("operation", ctypes.c_uint32),
    )


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    target = tmp_path_factory.mktemp("microjit") / "microjit.so"
    flags = ["-std=c11", "-O2", "-g", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-nostdlib", "-shared"]
    subprocess.run(["clang-19", *flags, "-fPIC", "-fuse-ld=lld-19", *SOURCES, "-o", target], check=True)
    functions = ctypes.CDLL(str(target))
    functions.microjit_end.restype = ctypes.c_size_t
    for pattern in ("constant", "fibonacci", "sum", "loop"):
        getattr(functions, f"microjit_emit_{pattern}").restype = ctypes.c_size_t
    return functions


class Emitter:
    """One buffer; a method call appends that instruction."""

    def __init__(self, library: ctypes.CDLL, capacity: int = 4096) -> None:
        self.library = library
        self.memory = ctypes.create_string_buffer(b"\xcc" * (capacity + 16), capacity + 16)
        self.capacity = capacity
        self.state = MicroJit()
        library.microjit_begin(
            ctypes.byref(self.state), ctypes.cast(self.memory, ctypes.c_void_p), ctypes.c_size_t(capacity)
        )

    def __getattr__(self, form: str) -> Callable[..., None]:
        function = getattr(self.library, f"microjit_{form}")

        def emit(*operands: object) -> None:
            values = [ctypes.byref(o) if isinstance(o, Label) else ctypes.c_uint32(o) for o in operands]  # type: ignore[call-overload]
            function(ctypes.byref(self.state), *values)

        return emit

    def code(self) -> bytes:
        length: int = self.library.microjit_end(ctypes.byref(self.state))
        assert self.memory.raw[self.capacity :] == b"\xcc" * 16, "bytes were written behind the buffer"
        return self.memory.raw[:length]


def disassemble(code: bytes) -> list[str]:
    """One text per instruction; all bytes must decode."""
    instructions = list(Cs(CS_ARCH_X86, CS_MODE_32).disasm(code, BASE))
    assert sum(instruction.size for instruction in instructions) == len(code)
    return [f"{instruction.mnemonic} {instruction.op_str}".strip() for instruction in instructions]


def one(library: ctypes.CDLL, form: str, *operands: int) -> str:
    emitter = Emitter(library)
    getattr(emitter, form)(*operands)
    [text] = disassemble(emitter.code())
    return text


def number(value: int) -> str:
    """As capstone prints it: decimal up to 9."""
    return f"{'-' if value < 0 else ''}{abs(value):#x}" if abs(value) > 9 else str(value)


def address(base: str, displacement: int) -> str:
    if displacement == 0:
        return f"dword ptr [{base}]"
    return f"dword ptr [{base} {'-' if displacement < 0 else '+'} {number(abs(displacement))}]"


@pytest.mark.parametrize(("number_of_register", "name"), list(enumerate(REGISTERS)))
def test_the_forms_with_one_register_decode_to_what_was_asked(
    library: ctypes.CDLL, number_of_register: int, name: str
) -> None:
    assert one(library, "push", number_of_register) == f"push {name}"
    assert one(library, "pop", number_of_register) == f"pop {name}"
    for value in IMMEDIATES:
        text = one(library, "mov_immediate", number_of_register, value)
        mnemonic, _, shown = text.partition(", ")
        assert mnemonic == f"mov {name}"
        assert int(shown, 0) & 0xFFFFFFFF == value & 0xFFFFFFFF
    for where in (0, 0x600, 0x240000, 0xFFFFFFFC):
        assert one(library, "load_absolute", number_of_register, where) == f"mov {name}, dword ptr [{number(where)}]"
        assert one(library, "store_absolute", where, number_of_register) == f"mov dword ptr [{number(where)}], {name}"


def test_the_forms_with_two_registers_decode_to_what_was_asked(library: ctypes.CDLL) -> None:
    for (a, left), (b, right) in itertools.product(enumerate(REGISTERS), repeat=2):
        assert one(library, "mov", a, b) == f"mov {left}, {right}"
        assert one(library, "imul", a, b) == f"imul {left}, {right}"
        assert one(library, "test", a, b) == f"test {left}, {right}"
        for operation, mnemonic in OPERATIONS.items():
            assert one(library, "operate", operation, a, b) == f"{mnemonic} {left}, {right}"


def test_loads_and_stores_decode_to_what_was_asked_for_every_base_and_size_of_displacement(
    library: ctypes.CDLL,
) -> None:
    for (a, register), (b, base) in itertools.product(enumerate(REGISTERS), repeat=2):
        for displacement in (0, 8, -4, 127, 128, -128, -129, 0x1000):
            memory = address(base, displacement)
            assert one(library, "load", a, b, displacement) == f"mov {register}, {memory}"
            assert one(library, "store", b, displacement, a) == f"mov {memory}, {register}"


def test_operations_with_an_immediate_decode_to_what_was_asked_in_the_shortest_form(library: ctypes.CDLL) -> None:
    for (code, mnemonic), (a, register), value in itertools.product(
        OPERATIONS.items(), enumerate(REGISTERS), IMMEDIATES
    ):
        text = one(library, "operate_immediate", code, a, value)
        asked, _, shown = text.partition(", ")
        assert asked == f"{mnemonic} {register}"
        assert int(shown, 0) & 0xFFFFFFFF == value & 0xFFFFFFFF
        emitter = Emitter(library)
        emitter.operate_immediate(code, a, value)
        assert len(emitter.code()) == (3 if -128 <= value <= 127 else 6)


@pytest.mark.parametrize("distance", [0, 1, 100, 126, 127, 128, 129, 300])
@pytest.mark.parametrize("condition", [None, *range(16)])
def test_jumps_reach_their_label_forwards_and_backwards(
    library: ctypes.CDLL, condition: int | None, distance: int
) -> None:
    mnemonic = "jmp" if condition is None else CONDITIONS[condition]

    def jump(emitter: Emitter, label: Label) -> None:
        if condition is None:
            emitter.jmp(label)
        else:
            emitter.jcc(condition, label)

    backwards, label = Emitter(library), Label()
    backwards.bind(label)
    for _ in range(distance):
        backwards.ret()
    jump(backwards, label)
    code = backwards.code()
    assert disassemble(code)[distance] == f"{mnemonic} {BASE:#x}"
    assert len(code) - distance == 2 or distance > 126

    forwards, label = Emitter(library), Label()
    jump(forwards, label)
    for _ in range(distance):
        forwards.ret()
    forwards.bind(label)
    code = forwards.code()
    assert disassemble(code)[0] == f"{mnemonic} {BASE + len(code):#x}"


def test_several_jumps_may_wait_for_one_label_and_a_fifth_one_is_refused(library: ctypes.CDLL) -> None:
    emitter, label = Emitter(library), Label()
    for _ in range(4):
        emitter.jmp(label)
    emitter.bind(label)
    emitter.ret()
    assert disassemble(emitter.code()) == [f"jmp {BASE + 20:#x}"] * 4 + ["ret"]

    emitter, label = Emitter(library), Label()
    for _ in range(5):
        emitter.jmp(label)
    assert emitter.state.failed


def test_a_label_cannot_be_bound_twice(library: ctypes.CDLL) -> None:
    emitter, label = Emitter(library), Label()
    emitter.bind(label)
    emitter.bind(label)
    assert emitter.state.failed
    assert emitter.code() == b""


ROOM_NEEDED = {
    "ret": ((), 1),
    "push": ((0,), 1),
    "pop": ((0,), 1),
    "mov": ((0, 1), 2),
    "test": ((0, 1), 2),
    "operate": ((0, 0, 1), 2),
    "imul": ((0, 1), 3),
    "mov_immediate": ((0, 1), 5),
    "operate_immediate": ((0, 0, 1000), 6),
    "load": ((0, 4, 1000), 7),
    "store": ((4, 1000, 0), 7),
    "load_absolute": ((0, 0x1000), 6),
    "store_absolute": ((0x1000, 0), 6),
}


@pytest.mark.parametrize("form", ROOM_NEEDED)
def test_an_instruction_that_does_not_fit_is_not_begun(library: ctypes.CDLL, form: str) -> None:
    operands, size = ROOM_NEEDED[form]
    for capacity in range(size):
        emitter = Emitter(library, capacity)
        getattr(emitter, form)(*operands)
        assert emitter.state.failed
        assert emitter.code() == b""
        assert emitter.memory.raw == b"\xcc" * (capacity + 16)
    exact = Emitter(library, size)
    getattr(exact, form)(*operands)
    assert len(exact.code()) == size


@pytest.mark.parametrize(("waiting", "size"), [(True, 5), (False, 2)])
def test_a_jump_that_does_not_fit_is_not_begun(library: ctypes.CDLL, waiting: bool, size: int) -> None:
    for capacity in range(size + 1):
        emitter, label = Emitter(library, capacity), Label()
        if not waiting:
            emitter.bind(label)
        emitter.jmp(label)
        assert emitter.state.failed == (capacity < size)
        assert len(emitter.memory.raw.rstrip(b"\xcc")) <= capacity


Pattern = Callable[..., Calls]


@pytest.fixture(scope="module")
def pattern(library: ctypes.CDLL) -> Pattern:
    """Emits a pattern and loads it at BASE of a fresh machine."""

    def load(name: str, parameter: int | Loop) -> Calls:
        buffer = ctypes.create_string_buffer(512)
        passed = ctypes.byref(parameter) if isinstance(parameter, Loop) else ctypes.c_uint32(parameter)
        length = getattr(library, f"microjit_emit_{name}")(buffer, ctypes.c_size_t(512), passed)
        assert 0 < length < 512
        texts = disassemble(buffer.raw[:length])
        assert texts[:2] == ["push ebp", "mov ebp, esp"]
        assert texts[-2:] == ["pop ebp", "ret"]
        calls = Calls()
        calls.write(BASE, buffer.raw[:length])
        return calls

    return load


def wrap(value: int) -> int:
    """As int32_t holds it."""
    result: int = struct.unpack("<i", struct.pack("<I", value & 0xFFFFFFFF))[0]
    return result


def fibonacci(n: int, first: int = 0, second: int = 1) -> int:
    for _ in range(n):
        first, second = second, first + second
    return first


@pytest.mark.parametrize("value", [*IMMEDIATES, 42])
def test_the_constant_pattern_returns_its_constant(pattern: Pattern, value: int) -> None:
    assert pattern("constant", value).call(BASE, 1, 2) == value


def test_the_fibonacci_pattern_gives_5_for_5_and_6765_for_20(pattern: Pattern) -> None:
    calls = pattern("fibonacci", 0)
    assert calls.call(BASE, 5, 0) == 5
    assert calls.call(BASE, 20, 0) == 6765


def test_the_fibonacci_pattern_agrees_with_python_wrapping_at_32_bits(pattern: Pattern) -> None:
    calls = pattern("fibonacci", 0)
    for a, b in itertools.product([*range(-3, 60), -(2**31)], (0, 1, -7, 2**31 - 1)):
        assert calls.call(BASE, a, b) == wrap(fibonacci(a) + b)


def test_the_fibonacci_pattern_reads_its_seeds_each_time_it_is_called(pattern: Pattern) -> None:
    calls = pattern("fibonacci", DATA)
    for first, second in ((0, 1), (2, 1), (0xFFFFFFFF, 7)):
        calls.write(DATA, struct.pack("<2I", first, second))
        assert [calls.call(BASE, n, 0) for n in range(-1, 30)] == [
            wrap(fibonacci(n, first, second)) for n in range(-1, 30)
        ]


def test_the_sum_pattern_gives_5050_for_1_to_100_and_agrees_with_python(pattern: Pattern) -> None:
    calls = pattern("sum", 0)
    assert calls.call(BASE, 1, 100) == 5050
    chance = random.Random(2)
    pairs = [(2**31 - 3, 2**31 - 1), (-(2**31), -(2**31) + 2), (5, 4), (2**31 - 1, -(2**31)), (0, 0)]
    for _ in range(200):
        a = chance.randrange(-(2**31), 2**31)
        pairs.append((a, wrap(a + chance.randrange(-3, 300))))
    for a, b in pairs:
        if b - a < 1000:
            assert calls.call(BASE, a, b) == wrap(sum(range(a, b + 1)))


def test_the_sum_pattern_counts_its_calls_where_it_is_told_to(pattern: Pattern) -> None:
    calls = pattern("sum", DATA)
    calls.write(DATA, struct.pack("<I", 0xFFFFFFFE))
    results = [calls.call(BASE, 1, 100), calls.call(BASE, 2, 1), calls.call(BASE, 7, 7)]
    assert results == [5050, 0, 7]
    assert calls.read(DATA, 8) == struct.pack("<2I", 1, 0)


@pytest.mark.parametrize(("name", "data"), [("fibonacci", "fibonacci_seed"), ("sum", "sum_calls")])
def test_a_pattern_is_the_modules_function_on_the_modules_data(
    library: ctypes.CDLL, tmp_path: Path, name: str, data: str
) -> None:
    compiled = I686Program(tmp_path, [ROOT / f"firmware/modules/{name}.c"])
    buffer = ctypes.create_string_buffer(512)
    emit = getattr(library, f"microjit_emit_{name}")
    assert emit(buffer, ctypes.c_size_t(512), ctypes.c_uint32(compiled.symbols[data])) > 0
    compiled.write(DATA, buffer.raw)
    chance = random.Random(7)
    for _ in range(1000):
        a = chance.randrange(-3, 60) if name == "fibonacci" else chance.randrange(-(2**31), 2**31 - 100)
        b = wrap(a + chance.randrange(-5, 90))
        before = compiled.read(compiled.symbols[data], 8)
        expected = compiled.run(f"{name}_main", a, b)
        after = compiled.read(compiled.symbols[data], 8)
        compiled.write(compiled.symbols[data], before)
        assert compiled.call(DATA, a, b) == expected
        assert compiled.read(compiled.symbols[data], 8) == after


LOOP_STEPS: dict[int, Callable[[int, int], int]] = {
    0: lambda total, operand: total + operand,
    1: lambda total, operand: total | operand,
    4: lambda total, operand: total & operand,
    5: lambda total, operand: total - operand,
    6: lambda total, operand: total ^ operand,
    LOOP_MULTIPLY: lambda total, operand: total * operand,
}


@pytest.mark.parametrize("operation", LOOP_STEPS)
@pytest.mark.parametrize("operand", [CONSTANT, COUNTER, ARGUMENT_B])
def test_the_loop_pattern_repeats_its_operation(pattern: Pattern, operation: int, operand: int) -> None:
    for initial, constant in ((0, 3), (7, -1), (-5, 0x10001), (1, 1000)):
        calls = pattern("loop", Loop(initial, constant, operand, operation))
        for turns, b in itertools.product((-1, 0, 1, 2, 17), NUMBERS):
            total = initial
            for turn in range(turns):
                total = wrap(LOOP_STEPS[operation](total, (constant, turn, b)[operand]))
            assert calls.call(BASE, turns, b) == total


@pytest.mark.parametrize("loop", [Loop(0, 0, 0, 2), Loop(0, 0, 0, 7), Loop(0, 0, 0, 9), Loop(0, 0, 3, 0)])
def test_a_loop_that_makes_no_sense_is_refused(library: ctypes.CDLL, loop: Loop) -> None:
    buffer = ctypes.create_string_buffer(512)
    assert library.microjit_emit_loop(buffer, ctypes.c_size_t(512), ctypes.byref(loop)) == FAILED
    assert buffer.raw == bytes(512)


@pytest.mark.parametrize("name", ["constant", "fibonacci", "sum", "loop"])
def test_a_pattern_that_does_not_fit_reports_it_and_writes_nothing_behind_its_buffer(
    library: ctypes.CDLL, name: str
) -> None:
    emit = getattr(library, f"microjit_emit_{name}")
    parameter = ctypes.byref(Loop(0, 1, 0, 0)) if name == "loop" else ctypes.c_uint32(0)
    buffer = ctypes.create_string_buffer(512)
    length = emit(buffer, ctypes.c_size_t(512), parameter)
    for capacity in range(length):
        guarded = ctypes.create_string_buffer(b"\xcc" * 512, 512)
        assert emit(guarded, ctypes.c_size_t(capacity), parameter) == FAILED
        assert guarded.raw[capacity:] == b"\xcc" * (512 - capacity)
    assert emit(buffer, ctypes.c_size_t(length), parameter) == length


def test_the_micro_jit_takes_at_most_10_kib_in_the_guest() -> None:
    archive = ROOT / "build/firmware/microjit/libmicrojit.a"
    printed = subprocess.run(["llvm-size-19", "-t", archive], check=True, capture_output=True, text=True).stdout
    code, data, bss, *_ = map(int, printed.splitlines()[-1].split()[:3])
    assert 0 < code + data + bss <= 10 * 1024
