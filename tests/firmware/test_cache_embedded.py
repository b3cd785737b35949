"""Do the optimised modules that are built into a kernel replace the embedded ones, and are others added?"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest_code import bitcode, tier
from kernel_view import Kernel, text
from machines import SECONDS
from own_kernel import make, own_output

from bareflow_gdb.abi import layouts
from bareflow_gdb.build.module import link_module, read_module
from bareflow_gdb.guest.boot.wait import wait_for_serial, wait_for_stage
from bareflow_gdb.qemu.image import RootSettings
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine

HELD = RootSettings(hold=1, thresholds=(10, 20, 30))  # it waits before its run, and costs the host nothing

DOUBLER = "int doubler_main(int a, int b) { return 2 * a + b; }"
OTHER_DATA = "int sum_other[5]; int sum_main(int a, int b) { sum_other[0]++; return a + b; }"
LONELY = "doubler"


def module_from(folder: Path, source: str, name: str) -> bytes:
    return link_module(tier(folder, bitcode(folder, source), 2), name, f"{name}_main")


@pytest.fixture(scope="module")
def cache(firmware: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """primes at O3, fibonacci without a level, doubler that no kernel embeds, a sum with other data."""
    folder = tmp_path_factory.mktemp("cache") / "i686/default"
    folder.mkdir(parents=True)
    for level in (1, 3):
        shutil.copy(firmware / f"modules/primes.O{level}.mod", folder)
    shutil.copy(firmware / "modules/fibonacci.O2.mod", folder / "fibonacci.mod")
    work = tmp_path_factory.mktemp("work")
    (folder / "doubler.mod").write_bytes(module_from(work, DOUBLER, LONELY))
    (folder / "sum.mod").write_bytes(module_from(work, OTHER_DATA, "sum"))
    return folder


@pytest.fixture(scope="module")
def out(firmware: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return own_output(firmware, tmp_path_factory.mktemp("fw"))


@pytest.fixture(scope="module")
def kernel(out: Path, cache: Path) -> Iterator[Kernel]:
    machine = launch(make(out, f"CACHE={cache}"), settings=HELD)
    wait_for_stage(machine, "registered")
    yield Kernel(machine)
    machine.stop()


def loaded(kernel: Kernel, name: str) -> tuple[object, object]:
    """The module's profile and its image record."""
    manager = kernel.record("module_manager_t", kernel.root.module_manager)
    names = [text(module.name) for module in manager.modules[: manager.num_modules]]
    index = names.index(name)
    address = kernel.root.module_images + index * layouts.size("bf_module_image")
    return manager.modules[index], kernel.record("bf_module_image", address)


@pytest.mark.parametrize(("name", "file", "level"), [("primes", "primes.O1", 1), ("fibonacci", "fibonacci", 0)])
def test_an_embedded_module_is_replaced_by_the_lowest_level_cached(
    kernel: Kernel, cache: Path, name: str, file: str, level: int
) -> None:
    assert f"[CACHE] Replaced embedded module '{name}' with cached version\n" in kernel.log
    _, image = loaded(kernel, name)
    wanted = (cache / f"{file}.mod").read_bytes()
    assert (image.source, image.level) == (layouts.const("BF_REASON_CACHE"), level)
    assert image.image % 16 == 0
    assert kernel.read(image.image, image.image_size) == wanted
    assert image.code_size == len(read_module(wanted).code)


def test_the_replaced_modules_compute_what_the_embedded_ones_did(kernel: Kernel) -> None:
    wait_for_serial(kernel.machine, "MODULE SYSTEM STATISTICS")
    assert "  Result: 6765 (expected: 6765)\n  [OK] Test passed!\n" in kernel.log
    assert "  Result: 168 (expected: 168)\n  [OK] Test passed!\n" in kernel.log
    assert "[FAIL]" not in kernel.log


def test_a_module_without_an_embedded_slot_is_added(kernel: Kernel) -> None:
    assert f"[CACHE] Added module '{LONELY}'\n" in kernel.log
    profile, image = loaded(kernel, LONELY)
    assert profile.loaded == 1
    assert image.source == layouts.const("BF_REASON_CACHE")


def test_a_cached_version_with_other_data_is_refused_and_the_embedded_one_stays(kernel: Kernel) -> None:
    assert "[ERROR] Module sum: its data is laid out differently\n" in kernel.log
    assert "Replaced embedded module 'sum'" not in kernel.log
    _, image = loaded(kernel, "sum")
    assert image.source == layouts.const("BF_REASON_EMBEDDED")


def test_the_adaptive_jit_takes_its_tiers_from_there_without_a_slot(kernel: Kernel) -> None:
    kernel.set_root("hold", 0)
    wait_for_stage(kernel.machine, "idle", SECONDS)
    assert {1, 3} <= {version.level for version in kernel.versions("primes")}
    cache = kernel.record("bf_cache", kernel.root.cache)
    assert (cache.hits, cache.evictions) == (2, 0)
    assert all(slot.state == 0 for slot in cache.slots)
    assert kernel.functions["primes"].last_result == 168


def test_a_kernel_without_a_cache_links_and_says_so(idle_machine: Machine) -> None:
    assert Kernel(idle_machine).log.count("[CACHE] No optimized modules detected\n") == 1


def test_leaving_the_cache_out_again_relinks_the_kernel(out: Path, kernel: Kernel) -> None:
    assert kernel.machine.alive(), "it has the image with the cache"
    assert LONELY.encode() in (out / "fluid.img").read_bytes()
    assert LONELY.encode() not in make(out).read_bytes()
