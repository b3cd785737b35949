"""The guest draws the reference's token: in each build, at the edges of shares, and as often as shares say."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from llama_flags import AS_THE_GUEST

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import UsageError
from bareflow_gdb.guest.model.conversation import Sampling
from bareflow_gdb.model.encodings import Floats
from bareflow_gdb.model.sampling import drawn, likeliest, number, shares, taken

ROOT = Path(__file__).parents[2]
LLAMA = ROOT / "firmware" / "llama"
TARGETS = {
    "x87": ("-mno-sse", "-mno-mmx", "-O0", "-DLEVEL=O0"),
    "x87 optimised": ("-mno-sse", "-mno-mmx", "-O3", "-DLEVEL=O3"),
    "sse": ("-msse2", "-mfpmath=sse", "-O3"),
    "avx2": ("-mavx2", "-mfpmath=sse", "-O3"),
}
ONE = 1 << 16


class Case(NamedTuple):
    logits: Floats
    temperature: int
    top_p: int
    number: int


def cases() -> Iterator[Case]:
    chance = np.random.default_rng(1)
    for count in (1, 2, 3, 16, 17, 500, 3000):
        for temperature in (1, ONE // 2, ONE, 100 * ONE):
            logits = (chance.standard_normal(count) * 4).astype(np.float32)
            # Some are equal.
            logits[count // 2 :] = np.round(logits[count // 2 :])
            for top_p in (1, ONE // 3, ONE - 1, ONE):
                yield Case(logits, temperature, top_p, int(chance.integers(1 << 32)))
            yield from edges(logits, temperature)
    for values in ([np.nan, 1, 2], [1, np.nan, 2, -np.inf], [np.inf, 1], [-np.inf, -np.inf], [np.nan] * 3):
        yield Case(np.array(values, np.float32), ONE, ONE, 0xFFFFFFFF)


def edges(logits: Floats, temperature: int) -> Iterator[Case]:
    """Where one more or less of a share makes another token."""
    every = shares(logits, temperature)
    total, ordered = int(every.sum()), np.sort(every)[::-1]
    for kept in {1, 2, len(logits) // 2} - {0}:
        wanted = int(ordered[:kept].sum())
        for top_p in (-(-(wanted << 16) // total) + more for more in (-1, 0, 1)):
            if 0 < top_p <= ONE:
                yield Case(logits, temperature, top_p, 0xFFFFFFFF)
        chosen = -(-(int(every[:kept].sum()) << 32) // total)
        for which in (chosen - 1, chosen):
            if 0 <= which < 1 << 32:
                yield Case(logits, temperature, ONE, which)


@pytest.mark.parametrize("name", TARGETS)
def test_c_draws_the_references_token(tmp_path: Path, name: str) -> None:
    if name == "avx2" and " avx2 " not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this processor has no AVX2")
    places = (f"-I{place}" for place in (LLAMA, Path(layouts.__file__).parent))
    sources = (ROOT / "tests/support/model_sample.c", LLAMA / "kernels/sample.c")
    program = tmp_path / "sample"
    words = ["clang-19", "--target=i686-linux-gnu", *TARGETS[name], *AS_THE_GUEST, *places, *map(str, sources)]
    subprocess.run([*words, "-o", str(program)], check=True)
    given, wanted = b"", []
    for one in cases():
        head = (len(one.logits), one.temperature, one.top_p, one.number, likeliest(one.logits))
        given += struct.pack("<5I", *head) + one.logits.astype("<f4").tobytes()
        wanted.append(taken(one.logits, one.temperature, one.top_p, one.number))
    try:
        done = subprocess.run([program], input=given, capture_output=True, check=True)
    except OSError as error:
        pytest.skip(f"this host does not run such programs: {error}")
    assert list(struct.unpack(f"<{len(wanted)}I", done.stdout)) == wanted


def test_tokens_are_drawn_as_often_as_their_shares_say() -> None:
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))
    how = Sampling.of(1, 1, 7)
    assert how is not None
    found = np.bincount([drawn(logits, how, index) for index in range(4000)], minlength=4) / 4000
    assert np.abs(found - [0.5, 0.3, 0.15, 0.05]).max() < 0.03
    # Two of them have 0.8 together, three 0.95.
    for top_p, tokens in ((0.5, {0}), (0.7, {0, 1}), (0.81, {0, 1, 2}), (1, {0, 1, 2, 3})):
        how = Sampling.of(1, top_p, 7)
        assert how is not None
        assert {drawn(logits, how, index) for index in range(400)} == tokens
    assert shares(np.zeros(100_000, np.float32), ONE).sum() < 1 << 32


def test_numbers_differ_by_seed_and_by_token() -> None:
    found = {number(seed, index) for seed in range(100) for index in range(100)}
    assert len(found) == 10_000 and max(found) < 1 << 32


@pytest.mark.parametrize(
    ("given", "why"), [((1, 1, -1), "a seed of -1"), ((-1, 1, 1), "a temperature of -1"), ((1, 2, 1), "a share of 2")]
)
def test_what_there_is_not_is_refused(given: tuple[float, float, int], why: str) -> None:
    with pytest.raises(UsageError, match=why):
        Sampling.of(*given)
