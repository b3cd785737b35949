"""Is the C library subset right: the elementary functions to the last bits, memory and strings byte for byte?

The same sources run as x86-64 code on the host (53-bit evaluation) and as the archive that the guest links
(x87, 64-bit evaluation). The reference is the C library's 80-bit long double.
"""

from __future__ import annotations

import ctypes
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from i686_program import DATA, I686Program

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "firmware/libs/llvmlibc"
ARCHIVE = ROOT / "build/firmware/libs/libllvmlibc.a"
ARRAYS = Path(__file__).parent / "llvmlibc_arrays.c"
LIMIT_ULP = {np.float64: 4.0, np.float32: 1.0}
REFERENCES = {"sin": np.sin, "cos": np.cos, "exp": np.exp, "log": np.log}
NAMES = [*REFERENCES, *(name + "f" for name in REFERENCES)]

Apply = Callable[[str, np.ndarray], np.ndarray]


def type_of(name: str) -> type:
    return np.float32 if name.endswith("f") else np.float64


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Apply:
    library = tmp_path_factory.mktemp("llvmlibc") / "host.so"
    flags = ["-ffreestanding", "-fno-builtin", "-O2", "-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{SOURCES}"]
    link = ["-shared", "-fPIC", "-nostdlib", "-fuse-ld=lld-19", "-Wl,-Bsymbolic", "-o", library]
    subprocess.run(["clang-19", *flags, *SOURCES.glob("*.c"), ARRAYS, *link], check=True)
    functions = ctypes.CDLL(str(library))

    def apply(name: str, values: np.ndarray) -> np.ndarray:
        values = np.ascontiguousarray(values, type_of(name))
        results = np.empty_like(values)
        pointers = (ctypes.c_void_p(array.ctypes.data) for array in (values, results))
        getattr(functions, f"apply_{name}")(*pointers, ctypes.c_size_t(len(values)))
        return results

    return apply


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> I686Program:
    assert ARCHIVE.exists(), f"{ARCHIVE} is missing: run `make firmware` first"
    return I686Program(tmp_path_factory.mktemp("llvmlibc"), [ARRAYS], ARCHIVE, includes=(SOURCES,))


@pytest.fixture(scope="module")
def guest(program: I686Program) -> Apply:
    def apply(name: str, values: np.ndarray) -> np.ndarray:
        values = np.ascontiguousarray(values, type_of(name))
        program.write(DATA, values.tobytes())
        program.run(f"apply_{name}", DATA, DATA + values.nbytes, len(values))
        return np.frombuffer(program.read(DATA + values.nbytes, values.nbytes), values.dtype)

    return apply


def arguments(name: str, count: int) -> np.ndarray:
    """`count` values over the range the accuracy is promised for, dense where each function is delicate."""
    chance = np.random.default_rng(20)
    part = count // 4
    if name.startswith(("sin", "cos")):
        near_zeros = np.round(chance.uniform(-636619, 636619, part)) * (np.pi / 2)
        sign = chance.choice([-1.0, 1.0], part)
        spread = sign * 10 ** chance.uniform(-30, 6, part)
        parts = [near_zeros, spread, chance.uniform(-7, 7, part), chance.uniform(-1e6, 1e6, part)]
    elif name == "exp":
        parts = [chance.uniform(low, high, part) for low, high in ((-745, 709.7), (-1, 1), (-745, -708))]
        parts.append(10 ** chance.uniform(-30, 2, part))
    elif name == "expf":
        parts = [chance.uniform(low, high, part) for low, high in ((-103, 88.7), (-1, 1), (-103, -87))]
        parts.append(10 ** chance.uniform(-30, 1, part))
    else:
        low, high = (-44.8, 38.5) if name == "logf" else (-323.3, 308.2)
        parts = [10 ** chance.uniform(low, high, 2 * part), chance.uniform(0.5, 2, part)]
        parts.append(1 + chance.uniform(-1e-3, 1e-3, part))
    return np.concatenate(parts).astype(type_of(name))


def worst_ulp(name: str, apply: Apply, values: np.ndarray) -> float:
    exact = REFERENCES[name.removesuffix("f")](values.astype(np.longdouble))
    unit = np.spacing(np.abs(exact.astype(values.dtype))).astype(np.longdouble)
    error = np.abs(apply(name, values).astype(np.longdouble) - exact) / unit
    assert np.isfinite(error).all(), f"{name}({values[~np.isfinite(error)][0]!r}) is not finite"
    return float(error.max())


@pytest.mark.parametrize("name", NAMES)
def test_a_million_results_of_the_host_build_are_within_the_promised_ulp(
    name: str, host: Apply, record_property: Callable[[str, object], None]
) -> None:
    worst = worst_ulp(name, host, arguments(name, 1_000_000))
    record_property("worst_ulp", worst)
    assert worst <= LIMIT_ULP[type_of(name)]


@pytest.mark.parametrize("name", NAMES)
def test_the_guests_x87_build_is_within_the_promised_ulp(
    name: str, guest: Apply, record_property: Callable[[str, object], None]
) -> None:
    worst = worst_ulp(name, guest, arguments(name, 20_000))
    record_property("worst_ulp", worst)
    assert worst <= LIMIT_ULP[type_of(name)]


@pytest.mark.parametrize("build", ["host", "guest"])
def test_sines_of_arguments_far_above_a_million_keep_the_promise_too(
    build: str, request: pytest.FixtureRequest
) -> None:
    apply = request.getfixturevalue(build)
    values = 10 ** np.random.default_rng(3).uniform(6, 308, 10_000)
    # Of all doubles the nearest to a multiple of pi/2 (J.-M. Muller, "Elementary Functions", table 11.1).
    values[0] = 6381956970095103.0 * 2.0**797
    for name in ("sin", "cos"):
        assert worst_ulp(name, apply, values) <= 4.0


SPECIAL = [
    ("sin", [0.0, -0.0, 5e-324, -5e-324, 1e-310], [0.0, -0.0, 5e-324, -5e-324, 1e-310]),
    ("sin", [np.inf, -np.inf, np.nan], [np.nan] * 3),
    ("cos", [0.0, -0.0, 5e-324, 1e-310], [1.0] * 4),
    ("cos", [np.inf, -np.inf, np.nan], [np.nan] * 3),
    ("exp", [0.0, -0.0, np.inf, -np.inf, 5e-324], [1.0, 1.0, np.inf, 0.0, 1.0]),
    ("exp", [709.782712893384, 709.7827128933841, 1e308], [1.7976931348622732e308, np.inf, np.inf]),
    ("exp", [-745.1332191019411, -745.1332191019413, -1e308, np.nan], [5e-324, 0.0, 0.0, np.nan]),
    ("log", [0.0, -0.0, 1.0, np.inf], [-np.inf, -np.inf, 0.0, np.inf]),
    ("log", [-1.0, -5e-324, -np.inf, np.nan], [np.nan] * 4),
    ("log", [5e-324, 2.225073858507201e-308], [-744.4400719213812, -708.3964185322641]),
    ("sinf", [0.0, -0.0, 1e-45, np.inf, np.nan], [0.0, -0.0, 1e-45, np.nan, np.nan]),
    ("cosf", [0.0, 1e-45, -np.inf, np.nan], [1.0, 1.0, np.nan, np.nan]),
    ("expf", [89.0, -104.0, -103.2, np.inf, -np.inf, np.nan], [np.inf, 0.0, 1e-45, np.inf, 0.0, np.nan]),
    ("logf", [0.0, -1.0, np.inf, 1e-45, np.nan], [-np.inf, np.nan, np.inf, -103.27893, np.nan]),
]


@pytest.mark.parametrize("build", ["host", "guest"])
@pytest.mark.parametrize(("name", "values", "expected"), SPECIAL)
def test_nan_infinities_zeros_and_denormals_are_as_in_iso_c(
    build: str, name: str, values: list[float], expected: list[float], request: pytest.FixtureRequest
) -> None:
    results = request.getfixturevalue(build)(name, np.array(values))
    wanted = np.array(expected, results.dtype)
    np.testing.assert_array_equal(results, wanted)
    known = ~np.isnan(wanted)
    np.testing.assert_array_equal(np.signbit(results)[known], np.signbit(wanted)[known])


def test_memset_fills_exactly_what_it_is_asked_to_at_every_alignment(program: I686Program) -> None:
    for start in range(5):
        for size in (*range(12), 63, 64, 65):
            program.write(DATA, b"." * 96)
            assert program.run("apply_memset", DATA + start, 0x1A7, size) == DATA + start
            assert program.read(DATA, 96) == b"." * start + b"\xa7" * size + b"." * (96 - start - size)


def test_memcpy_and_memmove_agree_with_python_slices(program: I686Program) -> None:
    chance = random.Random(5)
    for _ in range(300):
        memory = chance.randbytes(128)
        size = chance.randrange(0, 40)
        source = chance.randrange(0, 128 - size)
        overlapping = chance.randrange(0, 128 - size)
        program.write(DATA, memory)
        assert program.run("apply_memmove", DATA + overlapping, DATA + source, size) == DATA + overlapping
        moved = bytearray(memory)
        moved[overlapping : overlapping + size] = memory[source : source + size]
        assert program.read(DATA, 128) == moved

        program.write(DATA, memory + bytes(64))
        assert program.run("apply_memcpy", DATA + 130, DATA + source, size) == DATA + 130
        assert program.read(DATA + 130, 62) == memory[source : source + size] + bytes(62 - size)


def test_strings_are_measured_and_compared_as_unsigned_bytes(program: I686Program) -> None:
    for text in (b"", b"a", b"fibonacci", b"x" * 1000):
        program.write(DATA, text + b"\0")
        assert program.run("apply_strlen", DATA) == len(text)
    words = [b"", b"a", b"ab", b"b", b"\x7f", b"\x80", b"\xff", b"ab\x80"]
    for left in words:
        for right in words:
            program.write(DATA, left + b"\0")
            program.write(DATA + 64, right + b"\0")
            result = program.run("apply_strcmp", DATA, DATA + 64)
            assert (result > 0) - (result < 0) == (left > right) - (left < right)
