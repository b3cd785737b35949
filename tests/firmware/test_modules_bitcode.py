"""Is bitcode that comes from disk, with no tier beside it, compiled by the host, run, and brought to O3?"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from kernel_view import Kernel
from machines import SECONDS, wait_for
from references import REFERENCES

from bareflow_gdb.abi import layouts
from bareflow_gdb.build import test_interface
from bareflow_gdb.build.fat_image import DiskFile, fat16_image
from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.qemu.image import RootSettings
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.recompile.service import Service

MICRO_JIT = ("fibonacci", "sum")


@pytest.fixture(scope="module")
def machine(image: Path, firmware: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A guest whose disk holds bitcode only, held before its run."""
    disk = tmp_path_factory.mktemp("disk") / "bitcode.img"
    files = [
        DiskFile(f"{name[:8].upper()}.BC", (firmware / "modules" / f"{name}.bc.wrapped").read_bytes())
        for name in REFERENCES
    ]
    disk.write_bytes(fat16_image(files))
    machine = launch(image, disk=disk, settings=RootSettings(thresholds=(10, 20, 30), hold=1))
    wait_for_stage(machine, "registered", SECONDS)
    yield machine
    machine.stop()


def test_every_function_gets_to_o3_by_the_host(machine: Machine) -> None:
    kernel = Kernel(machine)
    stop = threading.Event()
    with Service(machine.memory(), machine.directory) as service:
        server = threading.Thread(target=lambda: list(service.serve(stop.is_set)))
        server.start()
        try:
            kernel.set_root("hold", 0)
            wait_for_stage(machine, "idle", SECONDS)
            wait_for(lambda: all(f.level == 3 for f in kernel.functions.values()), "O3 everywhere")
            wait_for(lambda: all(v.tsc_first for v in published(kernel)), "the first calls of all versions")
        finally:
            stop.set()
            server.join()
    for name, function in kernel.functions.items():
        assert function.last_result == function.expected, name
        levels = [version.level for version in kernel.versions(name) if version.tsc_published]
        assert levels[0] == 0 and levels[-1] == 3 and levels == sorted(levels)
        host = [v for v in kernel.versions(name) if v.provider == layouts.const("BF_PROVIDER_HOST")]
        assert host[-1].level == 3
        first = kernel.versions(name)[1]
        maker = "MICRO_JIT" if name in MICRO_JIT else "HOST"
        assert (first.level, first.provider) == (1, layouts.const(f"BF_PROVIDER_{maker}"))
    assert "FAIL" not in kernel.log


def published(kernel: Kernel) -> list[object]:
    state = layouts.const("BF_VERSION_PUBLISHED")
    return [version for version in kernel.versions() if version.state == state]


def test_the_same_runs_on_the_host_without_a_guest(firmware: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--directory", str(firmware / "modules"), "--program", str(firmware / "user" / "module_test")]
    assert test_interface.main([*words, "primes:1000:0:168", "gemm_tile:7:1:-635"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("BITCODE INTERFACE TEST (USERSPACE)\n")
    assert "[RECOMPILE] primes: O2 -> O3 (" in said
    assert said.count(" in 150 of 150 calls\n  [OK] Test passed!\n") == 2
    assert said.endswith("2 of 2 modules passed\n=== ALL BITCODE TESTS COMPLETED ===\n")
    assert test_interface.main([*words, "primes:1000:0:167"]) == 1
    assert "  Result: 167 in 0 of 150 calls\n  [FAIL] Test failed!\n" in capsys.readouterr().out


def test_a_program_that_does_not_run_is_one_sentence(
    firmware: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = tmp_path / "false"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    words = ["--directory", str(firmware / "modules"), "--program", str(program), "primes:1000:0:168"]
    assert test_interface.main(words) == 1
    assert "ended with code 3 on primes" in capsys.readouterr().err


def test_make_knows_the_target() -> None:
    root = Path(__file__).parents[2]
    asked = ["make", "-n", "-C", str(root / "firmware"), "test-interface"]
    planned = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    assert "bareflow_gdb.build.test_interface" in planned
