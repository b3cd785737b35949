"""A module of one's own on the disk is called, profiled, recompiled and swapped like the twelve."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest_code import bitcode, tier
from kernel_view import Kernel
from machines import SECONDS, Boot

from bareflow_gdb.abi import layouts
from bareflow_gdb.build import wrap
from bareflow_gdb.build.fat_image import DiskFile, fat16_image
from bareflow_gdb.build.module import Call, link_module
from bareflow_gdb.errors import UsageError
from bareflow_gdb.guest.boot.wait import wait_for_serial, wait_for_stage
from bareflow_gdb.qemu.image import RootSettings
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.recompile.service import Service

PAGE = Path(__file__).parents[2] / "docs" / "module-disk.md"

SOURCES = {
    "stable": "int stable_calls; int stable_main(int a, int b) { stable_calls++; return a * b; }",
    "counter": "int counter_calls; int counter_main(int a, int b) { return ++counter_calls + a - b; }",
    "asmtwice": '__asm__("asmtwice_double: movl 4(%esp), %eax; addl %eax, %eax; ret"); int asmtwice_double(int);'
    ' int asmtwice_main(int a, int b) { int r; __asm__("leal (%1,%2), %0" : "=r"(r) : "r"(a), "r"(b));'
    " return asmtwice_double(r); }",
    "floats": "int floats_main(int a, int b) { double s = 0; for (int n = 1; n <= a; n++) s += (double)b / n;"
    " return (int)(s * 1000); }",
    "fifth": "int fifth_main(int a, int b) { return a - b; }",
}
CALLS = {"asmtwice": Call((20, 1), 42), "floats": Call((-7, 3), None)}
SSE = ["-march=pentium4", "-msse2", "-mfpmath=sse"]


@pytest.fixture(scope="module")
def own(image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A guest with four modules of one's own that is at rest, and what it cannot take."""
    folder = tmp_path_factory.mktemp("own")
    files = []
    for name, source in SOURCES.items():
        plain = link_module(tier(folder, bitcode(folder, source), 0), name, f"{name}_main", call=CALLS.get(name))
        files.append(DiskFile(f"{name[:8].upper()}.MOD", plain))
        sse = SSE if name == "floats" else []
        wrapped = wrap.wrap(bitcode(folder, source, *sse), name, f"{name}_main")
        files.append(DiskFile(f"{name[:8].upper()}.BC", wrapped if name != "stable" else wrapped[:100]))
    nasty = bytearray(plain)
    nasty[4:9] = b"a\nb\x1b\0"
    files.append(DiskFile("NASTY.MOD", bytes(nasty)))
    disk = folder / "own.img"
    disk.write_bytes(fat16_image(files))
    machine = launch(image, disk=disk, settings=RootSettings(thresholds=(10, 20, 30)))
    wait_for_stage(machine, "idle", SECONDS)
    yield machine
    machine.stop()


def test_the_guests_log_says_what_it_did_with_each(own: Machine) -> None:
    for line in (
        "Registered: stable, called with (10, 3), expected 30 (as its first call returned), no bitcode: the",
        "Registered: counter, called with (10, 3), its result differs from call to call, ",
        "Registered: asmtwice, called with (20, 1), expected 42, ",
        "Registered: floats, called with (-7, 3), expected 0 (as its first call returned), ",
        "[ERROR] Module fifth: no room in the module table\n[DISK] FIFTH.MOD was not loaded\n",
        "[ERROR] Module image: the name is empty, or not printable\n[DISK] NASTY.MOD was not loaded\n",
    ):
        wait_for_serial(own, line, SECONDS)
    wait_for_serial(own, "[BITCODE] STABLE.BC refused: ", SECONDS)


def test_nothing_is_expected_of_a_result_that_differs_from_call_to_call(own: Machine) -> None:
    with Service(own.memory(), own.directory) as service:
        function = service.find("counter")
        assert function.last_result == function.expected > 31
        outcome = service.request("counter", 3, SECONDS)
        assert outcome.installed and outcome.right, outcome


@pytest.mark.parametrize(("name", "result"), [("asmtwice", 42), ("floats", 0)])
def test_it_is_recompiled_at_every_level(own: Machine, name: str, result: int) -> None:
    with Service(own.memory(), own.directory) as service:
        for level in range(4):
            outcome = service.request(name, level, SECONDS)
            assert (outcome.state, outcome.result, outcome.correct) == ("installed", result, True), outcome.message
            assert bool(outcome.notes) == (name == "floats"), "SSE became x87, and it is said"


def test_requests_are_served_together_and_what_would_kill_the_guest_is_rejected(
    image: Path, tmp_path: Path, launched: Boot
) -> None:
    deadly = 'int evil_main(int a, int b) { __asm__("addps %xmm0, %xmm1"); return a + b; }'
    harmless = "int evil_main(int a, int b) { return a + b; }"
    payload = bitcode(tmp_path, deadly)
    words = {"module_name": b"evil", "entry_name": b"evil_main", "bitcode_size": len(payload), "version": 1}
    header = layouts.pack("bitcode_header_t", magic=layouts.const("BITCODE_MAGIC"), **words)  # `wrap` would refuse it
    files = [DiskFile("EVIL.BC", header + payload)]
    for name, source in (("evil", harmless), ("asmtwice", SOURCES["asmtwice"])):
        plain = link_module(tier(tmp_path, bitcode(tmp_path, source), 0), name, f"{name}_main", call=CALLS.get(name))
        files.append(DiskFile(f"{name.upper()}.MOD", plain))
    wrapped = wrap.wrap(bitcode(tmp_path, SOURCES["asmtwice"]), "asmtwice", "asmtwice_main")
    disk = tmp_path / "evil.img"
    disk.write_bytes(fat16_image([*files, DiskFile("ASMTWICE.BC", wrapped)]))
    machine = launched(image, disk=disk, settings=RootSettings(thresholds=(10, 20, 30), hold=1))
    wait_for_stage(machine, "registered", SECONDS)
    kernel, made = Kernel(machine), []
    with Service(machine.memory(), machine.directory) as service:
        kernel.set_root("hold", 0)
        deadline = time.monotonic() + SECONDS
        for outcome in service.serve(lambda: kernel.functions["asmtwice"].level == 3 or time.monotonic() > deadline):
            made.append(outcome)
        assert kernel.functions["asmtwice"].level == 3, "the guest is dead"
        assert any(
            outcome.function == "evil" and outcome.state == "rejected" and "`addps" in outcome.message
            for outcome in made
        )
        wait_for_stage(machine, "idle", SECONDS)
        assert service.request("asmtwice", 2, SECONDS).right
        assert not service.request("evil", 2, SECONDS).installed
        assert service.request("asmtwice", 3, SECONDS).right


def test_what_is_loaded_but_not_registered_is_told_apart(own: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    with Service(own.memory(), own.directory) as service:
        names = [function.name for function in service.functions()]
        assert names[-4:] == ["stable", "counter", "asmtwice", "floats"]
        monkeypatch.setattr(service, "functions", lambda: [f for f in service._functions if f.name != "stable"])
        with pytest.raises(UsageError, match="module stable is loaded but not registered"):
            service.find("stable")


@pytest.mark.usefixtures("firmware")
def test_the_steps_of_the_page_work_as_they_are_typed(tmp_path: Path) -> None:
    section = PAGE.read_text().split("## A module of your own")[1]
    script = re.search(r"```\n(.*?)```", section, re.DOTALL)
    assert script is not None
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-ec", script[1]], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout
    assert re.search(r"digits@O3 #\d+ installed", said) and "168 (as expected)" in said, said
    modules, swaps, profile = (
        [line for line in said.splitlines() if "digits" in line and "installed" not in line],
        re.findall(r"digits\s+O\d.*", said),
        re.findall(r"digits.*10,00[1-9]", said),
    )
    assert modules and swaps and profile, said
