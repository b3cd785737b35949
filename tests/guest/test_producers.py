"""Bitcode of other habits: calls that LLVM adds, loops that become memcpy, link-time optimisation, too much of it."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest_code import bitcode, tier
from machines import SECONDS, Boot

from bareflow_gdb.abi import layouts
from bareflow_gdb.build import wrap
from bareflow_gdb.build.fat_image import DiskFile, fat16_image
from bareflow_gdb.build.module import Call, link_module
from bareflow_gdb.guest.boot.wait import wait_for_serial, wait_for_stage
from bareflow_gdb.qemu.image import RootSettings
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.recompile.service import Service

HABITS = {
    # __divdi3, __moddi3, __udivdi3, __umoddi3: the kernel's own.
    "wide": "int wide_main(int a, int b) { long long x = a * 1234567890123LL; unsigned long long y = x * 3u;"
    " return (int)(x / (b + 7)) + (int)(x % (b + 9)) + (int)(y / (b + 11u)) + (int)(y % (b + 13u)); }",
    # LLVM makes memcpy and memset of the loops, and of the structure that is returned.
    "copied": "struct big { unsigned char at[256]; };"
    " static struct big made(int a) { struct big r; for (int i = 0; i < 256; i++) r.at[i] = a + i * 3; return r; }"
    " int copied_main(int a, int b) { struct big x = made(a), y; unsigned char z[300];"
    " for (int i = 0; i < 256; i++) y.at[i] = x.at[i];"
    " for (int i = 0; i < 300; i++) z[i] = 0;"
    " for (int i = 0; i < 256; i++) z[i + (b & 31)] = y.at[i];"
    " unsigned s = 0; for (int i = 0; i < 300; i++) s = s * 31 + z[i]; return (int)s; }",
    "variadic": "#include <stdarg.h>\n"
    "static __attribute__((noinline)) int total(int n, ...) { va_list l; int s = 0; va_start(l, n);"
    " while (n-- > 0) s += va_arg(l, int); va_end(l); return s; }"
    " static __attribute__((noinline)) int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }"
    " int variadic_main(int a, int b) { return total(5, a, b, a + b, a * b, 7) + fib((a & 7) + 5); }",
    "vectors": "typedef int four __attribute__((vector_size(16)));"
    " int vectors_main(int a, int b) { four x = {a, b, a + 1, b + 1}, y = x * x + x; float q = (float)a / (b + 1);"
    " return y[0] + y[1] + y[2] + y[3] + (int)(a / 4.0) + (int)(q * 100); }",
}


def copied(a: int, b: int) -> int:
    shown = [0] * 300
    shown[b : b + 256] = [(a + i * 3) & 0xFF for i in range(256)]
    return int.from_bytes(functools.reduce(lambda s, at: (s * 31 + at) % (1 << 32), shown).to_bytes(4), signed=True)


WIDE = 30 * 1234567890123
RESULTS = {
    "wide": (WIDE // 17 + WIDE % 19 + 3 * WIDE // 21 + 3 * WIDE % 23 + (1 << 31)) % (1 << 32) - (1 << 31),
    "copied": copied(30, 10),
    "variadic": 30 + 10 + 40 + 300 + 7 + 89,
    "vectors": 30 * 31 + 10 * 11 + 31 * 32 + 11 * 12 + 7 + 272,
}
FLAGS = {"variadic": ["-fPIC"], "vectors": ["-flto=thin", "-fPIC"]}
"""What clang is told besides: thin LTO leaves a summary beside the module."""


@pytest.fixture(scope="module")
def own(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A guest at rest with a module of each habit; its images are stand-ins that return their first argument."""
    folder = tmp_path_factory.mktemp("habits")
    files = []
    for name, source in HABITS.items():
        stand_in = tier(folder, bitcode(folder, f"int {name}_main(int a, int b) {{ return a; }}"), 0)
        image_of = link_module(stand_in, name, f"{name}_main", call=Call((30, 10), RESULTS[name]))
        wrapped = wrap.wrap(bitcode(folder, source, *FLAGS.get(name, [])), name, f"{name}_main")
        files += [DiskFile(f"{name.upper()}.MOD", image_of), DiskFile(f"{name.upper()}.BC", wrapped)]
    disk = folder / "habits.img"
    disk.write_bytes(fat16_image(files))
    machine = launch(image, disk=disk, settings=RootSettings(thresholds=(10, 20, 30)))
    wait_for_stage(machine, "idle", SECONDS)
    yield machine
    machine.stop()


@pytest.mark.parametrize("name", HABITS)
def test_it_returns_the_same_at_every_level(own: Machine, name: str) -> None:
    with Service(own.memory(), own.directory, verify=False) as service:
        for level in range(4):
            outcome = service.request(name, level, SECONDS)
            assert (outcome.state, outcome.level, outcome.result) == ("installed", level, RESULTS[name]), outcome


def test_bitcode_that_no_pool_has_room_for_is_none_and_the_next_step_is_told(
    image: Path, launched: Boot, tmp_path: Path
) -> None:
    cases = "".join(
        f"case {n}: s = s * {n * 7919 + 1} + b * {n * 104729 + 3}; s ^= a * {n * 1299709 + 5}; break; "
        for n in range(4600)
    )
    source = f"int sum_main(int a, int b) {{ int s = a; switch (b) {{ {cases} }} return s; }}"
    header = layouts.pack(
        "bitcode_header_t",
        magic=layouts.const("BITCODE_MAGIC"),
        module_name=b"sum",
        entry_name=b"sum_main",
        bitcode_size=len(payload := bitcode(tmp_path, source, "-g0")),
        version=1,
    )
    assert len(payload) > 512 << 10, "the DATA pool has that much"
    disk = tmp_path / "large.img"
    disk.write_bytes(fat16_image([DiskFile("SUM.BC", header + payload)]))
    machine = launched(image, disk=disk, settings=RootSettings(thresholds=(10, 20, 30)))
    wait_for_serial(machine, f"[DISK] SUM.BC: no memory for its {len(header + payload)} bytes", SECONDS)
    wait_for_stage(machine, "idle", SECONDS)
    with Service(machine.memory(), machine.directory) as service:
        outcome = service.request("sum", 3, SECONDS)
        assert (outcome.state, outcome.reason) == ("rejected", "no_bitcode")
        assert "`bareflow serial` says what the module disk lacks" in outcome.message
