"""What must each module return? Independent Python implementations of NAME_main(a, b).

Integers are equal to the bit. The modules that round floating point (fft_1d, physics_step) round to integers
far coarser than the x87's and Python's rounding errors, so they are equal too.
"""

from __future__ import annotations

import cmath
import hashlib
import re
from collections.abc import Callable, Iterator
from fractions import Fraction


def i32(value: int) -> int:
    """The low 32 bits of `value` as a signed number."""
    return (value + 2**31) % 2**32 - 2**31


def lcg(seed: int) -> Iterator[int]:
    """The states of the modules' 32-bit linear congruential generator after the seed."""
    state = seed % 2**32
    while True:
        state = (state * 1664525 + 1013904223) % 2**32
        yield state


def clamp(value: int, longest: int) -> int:
    return max(0, min(value, longest))


def fibonacci(a: int, b: int) -> int:
    x, y = 0, 1
    for _ in range(a):
        x, y = y, x + y
    return i32(x + b)


def total(a: int, b: int) -> int:
    return i32(sum(range(a, b + 1)))


def compute(a: int, b: int) -> int:
    return i32(sum(i * j % 1000 for i in range(a) for j in range(b)))


def primes(a: int, b: int) -> int:
    return sum(all(n % d for d in range(2, int(n**0.5) + 1)) for n in range(max(b, 2), a))


def fft_1d(a: int, b: int) -> int:
    x = [(n * a + b) % 2**32 % 17 - 8 for n in range(32)]
    bins = [sum(v * cmath.exp(-2j * cmath.pi * k * n / 32) for n, v in enumerate(x)) for k in range(32)]
    return i32(sum((k + 1) * int(abs(v) ** 2 + 0.5) for k, v in enumerate(bins)))


def sha256_digest(a: int, b: int) -> bytes:
    return hashlib.sha256(bytes((7 * i + b) % 256 for i in range(clamp(a, 1024)))).digest()


def sha256(a: int, b: int) -> int:
    return i32(int.from_bytes(sha256_digest(a, b)[:4], "big"))


def matrix_mul(a: int, b: int) -> int:
    n = clamp(a, 16)
    left = [[(i + j + b) % 2**32 % 17 for j in range(n)] for i in range(n)]
    right = [[(3 * i + 5 * j + b) % 2**32 % 19 for j in range(n)] for i in range(n)]
    checksum = 0
    for row in left:
        for column in zip(*right, strict=True):
            checksum ^= sum(x * y for x, y in zip(row, column, strict=True))
    return i32(checksum)


def quicksort(a: int, b: int) -> int:
    states = lcg(b)
    values = sorted(next(states) >> 16 for _ in range(clamp(a, 128)))
    return i32(sum((i + 1) * v for i, v in enumerate(values)))


def strops(a: int, b: int) -> int:
    checksum, letter = 0, b % 2**32 % 26
    for turn in range(a):
        size = 8 + (turn * 7 + b) % 2**32 % 9
        text = "".join(chr(ord("a") + (letter + 11 * i) % 26) for i in range(size))
        letter = (letter + 11 * size) % 26
        checksum = checksum * 31 + size + ((text > text[::-1]) - (text < text[::-1]))
    return i32(checksum)


def regex_dfa(a: int, b: int) -> int:
    states = lcg(b)
    text = "".join("abcde"[(next(states) >> 24) % 5] for _ in range(a))
    return len(re.findall("a[bc]*d", text))


def gemm_tile(a: int, b: int) -> int:
    n = clamp(a, 8)
    left = [[Fraction((7 * i + 3 * j + b) % 2**32 % 11 - 5, 4) for j in range(n)] for i in range(n)]
    right = [[Fraction((5 * i + 2 * j + b) % 2**32 % 13 - 6, 4) for j in range(n)] for i in range(n)]
    product = [[sum(left[i][k] * right[k][j] for k in range(n)) for j in range(n)] for i in range(n)]
    return int(16 * sum(product[i][j] * ((i + 2 * j) % 7 + 1) for i in range(n) for j in range(n)))


def physics_step(a: int, b: int) -> int:
    step = Fraction(1, 64)
    x, y, old_x = Fraction(1), Fraction(0), Fraction(1)
    old_y = Fraction(-b, 1000) * step
    for _ in range(a):
        x, old_x = 2 * x - old_x - step * step * x, x
        y, old_y = 2 * y - old_y - Fraction(9, 4) * step * step * y, y
    millionths = (x + y) * 1_000_000
    return int(abs(millionths) + Fraction(1, 2)) * (1 if millionths >= 0 else -1)


REFERENCES: dict[str, Callable[[int, int], int]] = {
    "fibonacci": fibonacci,
    "sum": total,
    "compute": compute,
    "primes": primes,
    "fft_1d": fft_1d,
    "sha256": sha256,
    "matrix_mul": matrix_mul,
    "quicksort": quicksort,
    "strops": strops,
    "regex_dfa": regex_dfa,
    "gemm_tile": gemm_tile,
    "physics_step": physics_step,
}


def bench_memory(a: int, b: int) -> int:
    words = clamp(a, 64) * 256
    return i32(sum(i + turn for turn in range(b) for i in range(words)))


def bench_cache(a: int, b: int) -> int:
    return i32(sum((i + 1) * b % 2**32 % 16384 for i in range(a)))


def bench_branch(a: int, b: int) -> int:
    states = lcg(b)
    taken = sum(next(states) >> 31 for _ in range(a))
    return i32(taken * 65536 + max(a, 0))


# In the kernel with BENCH=1 only.
BENCH_REFERENCES: dict[str, Callable[[int, int], int]] = {
    "bench_memory": bench_memory,
    "bench_cache": bench_cache,
    "bench_branch": bench_branch,
}
