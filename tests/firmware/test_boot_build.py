"""Does the firmware's Makefile refuse what cannot boot, and do its targets and build modes work?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import own_kernel
import pytest
from elftools.elf.elffile import ELFFile
from machines import wait_for

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.boot.wait import wait_for_serial, wait_for_stage
from bareflow_gdb.qemu.image import SECTOR, RootSettings, read_image_header
from bareflow_gdb.qemu.launch import launch

ROOT = Path(__file__).parents[2]
FIRMWARE = ROOT / "build" / "firmware"
PAGE = 4096


def make(out: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--no-print-directory", "-C", str(ROOT / "firmware"), f"OUT={out}"]
    command.append(f"PYTHON={sys.executable}")
    return subprocess.run([*command, *words], capture_output=True, text=True, timeout=600, check=False)


@pytest.fixture(scope="module")
def interactive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The build directory of an INTERACTIVE=1 kernel."""
    return own_kernel.make(
        own_kernel.own_output(FIRMWARE, tmp_path_factory.mktemp("interactive")), "INTERACTIVE=1"
    ).parent


def ballast(out: Path, name: str, definition: str) -> Path:
    source, target = out / f"{name}.c", out / f"{name}.o"
    source.write_text(definition)
    subprocess.run(["clang-19", "--target=i686-unknown-none-elf", "-c", str(source), "-o", str(target)], check=True)
    return target


def symbols(elf: Path) -> dict[str, int]:
    with elf.open("rb") as file:
        table = ELFFile(file).get_section_by_name(".symtab")
        return {symbol.name: int(symbol["st_value"]) for symbol in table.iter_symbols()}


def test_an_image_larger_than_the_loader_reads_fails_the_build_and_leaves_no_disk(interactive: Path) -> None:
    room = layouts.const("BF_IMAGE_MAX_SECTORS") * SECTOR - read_image_header(interactive / "fluid.img").image_bytes
    too_much = ballast(interactive, "large", f"__attribute__((used)) const char large[{room + PAGE}] = {{1}};\n")
    built = make(interactive, "INTERACTIVE=1", f"EXTRA_OBJECTS={too_much}", f"{interactive}/fluid.img")
    assert built.returncode != 0
    assert "the loader reads 512" in built.stderr
    assert "sectors" in built.stderr
    assert not (interactive / "fluid.img").exists()
    (interactive / "kernel.elf").unlink()
    assert make(interactive, "INTERACTIVE=1", f"{interactive}/fluid.img").returncode == 0


def test_a_bss_that_reaches_into_the_stack_fails_the_build(interactive: Path) -> None:
    too_much = ballast(interactive, "bss", "__attribute__((used)) char bss[0x70000];\n")
    built = make(interactive, "INTERACTIVE=1", f"EXTRA_OBJECTS={too_much}", f"{interactive}/fluid.img")
    assert built.returncode != 0
    assert "_end must not exceed 0x80000" in built.stderr


def test_an_interactive_kernel_waits_for_a_key(interactive: Path, tmp_path: Path) -> None:
    settings = RootSettings(thresholds=(10, 20, 30))
    machine = launch(interactive / "fluid.img", directory=tmp_path / "vm", settings=settings)
    try:
        wait_for_serial(machine, "press a key\n")
        for keys in (["a"], ["shift", "b"], ["shift", "2"], ["ret"]):
            machine.qmp("send-key", keys=[{"type": "qcode", "data": key} for key in keys])
        wait_for_stage(machine, "modules")
        found = symbols(interactive / "kernel.elf")

        def typed() -> bytes:
            return machine.memory().read(found["keys"], 4, "keyboard queue")

        wait_for(lambda: b"\n" in typed(), "the last key")
        assert typed() == b"aB@\n"
        wait_for_stage(machine, "idle")
    finally:
        machine.stop()


def test_an_automated_kernel_waits_for_nothing(tmp_path: Path) -> None:
    machine = launch(FIRMWARE / "fluid.img", directory=tmp_path / "vm")
    try:
        wait_for_stage(machine, "modules")
        assert "press a key" not in machine.serial()
    finally:
        machine.stop()


def test_hooks_data_and_code_share_no_page() -> None:
    with (FIRMWARE / "kernel.elf").open("rb") as file:
        sections = {
            section.name: range(section["sh_addr"] // PAGE, -(-(section["sh_addr"] + section["sh_size"]) // PAGE))
            for section in ELFFile(file).iter_sections()
            if section["sh_flags"] & 2 and section["sh_size"]
        }
    written = set(sections[".data"]) | set(sections[".bss"])
    hooks, code = set(sections[".hooks"]), set(sections[".text"])
    # The bitcode is in the kernel only when it is built with MODULE_BITCODES; by default it is on the disk.
    read = set(sections[".rodata"]) | set(sections.get(".bitcode", ()))
    assert not hooks & (code | written | read)
    assert not written & (code | read)
    assert not code & read


def test_the_kernels_own_code_uses_no_floating_point() -> None:
    # Interrupts do not save the x87 state; the libraries that modules use may have such code.
    objects = sorted(map(str, (FIRMWARE / "kernel").glob("*.o")))
    listing = subprocess.run(
        ["llvm-objdump-19", "-d", "--no-show-raw-insn", "--no-leading-addr", *objects],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    mnemonics = {line.split()[0] for line in listing.splitlines() if line.startswith((" ", "\t")) and line.strip()}
    assert {"movl", "calll", "rdtsc"} <= mnemonics
    assert {word for word in mnemonics if word.startswith("f") or "mm" in word} == {"fninit"}
    assert "xmm" not in listing


def test_info_shows_sizes_against_limits_and_list_modules_names_them() -> None:
    info = make(FIRMWARE, "info")
    assert info.returncode == 0, info.stderr
    assert f"of {layouts.const('BF_IMAGE_MAX_SECTORS')} sectors" in info.stdout
    assert "stage 1" in info.stdout
    modules = make(FIRMWARE, "list-modules").stdout.split()
    assert {"fibonacci", "sum", "compute", "primes"} <= set(modules)
