"""Does the runtime library's profiler count what it says, and does jit_optimize_* publish the right code?

The archive that applications link runs in unicorn, a call at a time.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import pytest
from i686_program import DATA, I686Program

from bareflow_gdb.abi import layouts

ROOT = Path(__file__).parents[2]
LIBRARY = ROOT / "build/firmware/kernel_lib/kernel_lib.a"
INCLUDES = tuple(ROOT / folder for folder in ("firmware/kernel_lib", "firmware/kernel", "bareflow_gdb/abi"))
NEVER = 2**64 - 1
UNKNOWN = 4


class Library(I686Program):
    """Calls by name with Python strings; each string keeps its address, as a literal does."""

    def __init__(self, directory: Path) -> None:
        super().__init__(
            directory,
            [Path(__file__).parent / "kernel_lib_host.c"],
            LIBRARY,
            includes=INCLUDES,
            keep="jit_profile_print",
        )
        self.strings: dict[str, int] = {}
        self.profile = self.run("the_profile")
        self.run("jit_profile_init", self.profile)

    def text(self, value: str, *, again: bool = False) -> int:
        """The string's address; with `again`, of another copy of it."""
        if value not in self.strings or again:
            address = DATA + 0x1000 + 64 * len(self.strings)
            self.strings[value + "*" * again] = address
            self.write(address, value.encode() + b"\0")
            return address
        return self.strings[value]

    def begin(self, name: str, *, again: bool = False) -> None:
        self.run("jit_profile_begin", self.profile, self.text(name, again=again))

    def end(self, name: str) -> None:
        self.run("jit_profile_end", self.profile, self.text(name))

    def called(self, name: str, times: int = 1) -> None:
        for _ in range(times):
            self.begin(name)
            self.end(name)

    def request(self, name: str, level: int) -> bool:
        """A bool comes back in AL; the rest of EAX means nothing."""
        return self.run("jit_optimize_request", self.profile, self.text(name), level) & 0xFF != 0

    def entries(self) -> list[Any]:
        profile = layouts.unpack("jit_profile", self.read(self.profile, layouts.size("jit_profile")))
        return list(profile.entries[: profile.num_functions])

    def console(self) -> str:
        [used] = struct.unpack("<I", self.read(self.symbols["console_used"], 4))
        return self.read(self.symbols["console"], used).decode()


@pytest.fixture
def library(tmp_path: Path) -> Library:
    assert LIBRARY.exists(), f"{LIBRARY} is missing: run `make firmware` first"
    return Library(tmp_path)


def name_of(entry: Any) -> str:
    return bytes(entry.name).split(b"\0")[0].decode()


def test_calls_are_counted_under_their_names_with_their_cycles(library: Library) -> None:
    library.called("fibonacci", 3)
    library.called("sum_to_n", 2)
    first, second = library.entries()
    assert (name_of(first), first.call_count) == ("fibonacci", 3)
    assert (name_of(second), second.call_count) == ("sum_to_n", 2)
    for entry in (first, second):
        assert 0 < entry.min_cycles <= entry.max_cycles
        assert entry.min_cycles * entry.call_count <= entry.total_cycles
        assert entry.total_cycles <= entry.max_cycles * entry.call_count
        assert entry.active == 0


def test_the_profile_is_laid_out_as_in_stock_unikernels(library: Library) -> None:
    library.called("fibonacci")
    raw = library.read(library.profile, 2436)
    assert raw[0:10] == b"fibonacci\0"
    assert struct.unpack_from("<Q", raw, 32) == (1,)
    total, low, high = struct.unpack_from("<3Q", raw, 40)
    assert total == low == high
    assert struct.unpack_from("<I", raw, 2432) == (1,)


def test_the_same_name_at_another_address_is_the_same_function(library: Library) -> None:
    library.called("fibonacci")
    library.begin("fibonacci", again=True)
    library.end("fibonacci")
    [entry] = library.entries()
    assert entry.call_count == 2


def test_names_that_share_a_place_in_the_memory_of_addresses_stay_apart(library: Library) -> None:
    addresses = [DATA + 0x1000 + 128 * turn for turn in range(3)]
    for turn, address in enumerate(addresses):
        library.write(address, f"function{turn}".encode() + b"\0")
    for _ in range(5):
        for address in addresses:
            library.run("jit_profile_begin", library.profile, address)
            library.run("jit_profile_end", library.profile, address)
    assert [(name_of(entry), entry.call_count) for entry in library.entries()] == [
        ("function0", 5),
        ("function1", 5),
        ("function2", 5),
    ]


def test_two_profiles_in_turn_stay_apart(library: Library) -> None:
    profiles = (library.profile, library.symbols["jit_profile"])
    library.run("jit_profile_init", profiles[1])
    for times in (2, 3):
        for profile in profiles:
            library.profile = profile
            library.called("f", times)
            library.called("g")
    for profile in profiles:
        library.profile = profile
        assert [(name_of(entry), entry.call_count) for entry in library.entries()] == [("f", 5), ("g", 2)]


def test_a_recursion_counts_as_its_outermost_call(library: Library) -> None:
    for _ in range(3):
        library.begin("f")
    assert library.entries()[0].active == 3
    for _ in range(3):
        library.end("f")
    [entry] = library.entries()
    assert (entry.call_count, entry.active) == (1, 0)


def test_an_end_without_a_begin_counts_nothing(library: Library) -> None:
    library.end("f")
    [entry] = library.entries()
    assert (entry.call_count, entry.min_cycles, entry.active) == (0, NEVER, 0)


def test_a_thirty_third_function_is_not_profiled_and_harms_no_other(library: Library) -> None:
    names = [f"function{number}" for number in range(34)]
    for name in names:
        library.called(name, 2)
    assert [(name_of(entry), entry.call_count) for entry in library.entries()] == [(name, 2) for name in names[:32]]


def test_a_long_name_is_cut_and_still_found(library: Library) -> None:
    library.called("x" * 40, 2)
    [entry] = library.entries()
    assert (name_of(entry), entry.call_count) == ("x" * 31, 2)


def test_the_statistics_are_printed_as_stock_unikernels_do(library: Library) -> None:
    library.called("fibonacci", 2)
    library.end("never")
    library.run("jit_profile_print", library.profile)
    [entry, _] = library.entries()
    average = entry.total_cycles // 2
    assert library.console().splitlines() == [
        "=== JIT Profiling Statistics ===",
        f"fibonacci: calls=2, avg={average}, min={entry.min_cycles}, max={entry.max_cycles}",
        "never: calls=0, avg=0, min=0, max=0",
    ]


def test_a_function_runs_the_code_of_the_level_it_was_given(library: Library) -> None:
    name = library.text("f")
    assert library.run("register_function", name) == 1
    library.called("f")
    assert library.run("call", name, 5, 3) == 8
    assert library.request("f", 2)
    assert library.run("call", name, 5, 3) == 2
    assert library.console() == "[JIT] f: O0 -> O2\n"


def test_a_level_without_code_gives_the_best_one_below_it(library: Library) -> None:
    name = library.text("f")
    library.run("register_function", name)
    library.called("f")
    for level, code_level in ((1, 0), (3, 2), (0, 0), (2, 2)):
        assert library.request("f", level)
        assert library.run("jit_optimize_asked", name) == level
        assert library.run("jit_optimize_level", name) == code_level


def test_without_better_code_a_function_keeps_the_code_it_has(library: Library) -> None:
    library.run("register_level0_only", library.text("f"))
    library.called("f")
    assert library.request("f", 3)
    assert library.run("jit_optimize_level", library.text("f")) == 0
    assert library.run("call", library.text("f"), 5, 3) == 8
    assert library.console() == ""


def test_a_request_is_refused_for_what_is_not_profiled_not_registered_or_no_level(library: Library) -> None:
    registered, profiled, both = (library.text(name) for name in ("registered", "profiled", "both"))
    library.run("register_function", registered)
    library.run("register_function", both)
    library.called("profiled")
    library.called("both")
    assert not library.request("registered", 2)
    assert not library.request("profiled", 2)
    assert not library.request("both", 4)
    assert library.run("jit_optimize_level", both) == 0
    assert library.run("jit_optimize_level", profiled) == UNKNOWN
    assert library.run("jit_optimize_code", profiled) == 0


def test_a_function_is_registered_once_and_with_code_for_level_0(library: Library) -> None:
    assert library.run("register_nothing", library.text("f")) == 0
    assert library.run("register_function", library.text("f")) == 1
    assert library.run("register_function", library.text("f")) == 0


@pytest.mark.parametrize(("calls", "asked"), [(99, 0), (100, 1), (999, 1), (1000, 2)])
def test_call_counts_ask_for_levels_at_the_kernels_thresholds(library: Library, calls: int, asked: int) -> None:
    name = library.text("f")
    library.run("register_function", name)
    library.called("f", calls)
    assert library.run("jit_optimize_all", library.profile) == (asked > 0)
    assert library.run("jit_optimize_asked", name) == asked
    assert library.run("jit_optimize_all", library.profile) == 0
