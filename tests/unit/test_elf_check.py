"""Is this ELF file the kernel's? Told from the code, for kernels without a build id."""

from __future__ import annotations

import io
import subprocess
import tracemalloc
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from fake_guest import Bytes

from bareflow_gdb.errors import BadData
from bareflow_gdb.guest.names.elf import check_elf, load_elf, loaded_sections

RAM_BYTES = 1 << 20
CODE = bytes(range(1, 251)) * 16


def make_elf(folder: Path, name: str, code: bytes = CODE, base: int = 0x10000, strip: bool = False) -> Path:
    """A small i386 ELF by the real assembler and linker."""
    source, made = folder / f"{name}.s", folder / f"{name}.elf"
    numbers = ",".join(map(str, code))
    source.write_text(f".globl _start,g_pools\n.text\n_start: .byte {numbers}\n.data\ng_pools: .long 1,2,3\n")
    subprocess.run(
        ["clang-19", "--target=i686-unknown-none-elf", "-c", source, "-o", made.with_suffix(".o")], check=True
    )
    link = ["ld.lld-19", "-m", "elf_i386", "-N", f"--image-base={base}", f"-Ttext={base:#x}"]
    subprocess.run([*link, "-o", made, made.with_suffix(".o")], check=True)
    if strip:
        subprocess.run(["llvm-objcopy-19", "--strip-all", made, made], check=True)
    return made


def loaded(address: int = 0x10000, code: bytes = CODE, cost: int = 0) -> Bytes:
    memory = Bytes(RAM_BYTES, cost=cost)
    # As after an attach: the source has cost packets before.
    memory.packets = cost
    memory.put(address, code)
    return memory


def test_the_kernels_own_file_is_recognised(tmp_path: Path) -> None:
    elf = load_elf(make_elf(tmp_path, "own"))
    check = check_elf(loaded(), elf)
    assert (check.same, check.compared, check.different) == (True, len(CODE), 0)
    assert "g_pools" in elf.symbols.by_name


def test_a_stripped_file_is_recognised_and_has_no_symbols(tmp_path: Path) -> None:
    elf = load_elf(make_elf(tmp_path, "bare", strip=True))
    assert check_elf(loaded(), elf).same
    assert not elf.symbols


def test_another_kernels_file_is_named_with_how_much_differs(tmp_path: Path) -> None:
    check = check_elf(loaded(), load_elf(make_elf(tmp_path, "other", CODE[::-1])))
    assert not check.same
    assert check.verdict.startswith("other.elf is another kernel's")
    assert f"{check.different:,} of" in check.verdict


def test_a_kernel_linked_elsewhere_than_it_is_loaded_is_named_so(tmp_path: Path) -> None:
    check = check_elf(loaded(), load_elf(make_elf(tmp_path, "low", base=0x1000)))
    assert not check.same
    assert "linked at 0x1000, but loaded at 0x10000" in check.verdict
    assert "off by 0xf000" in check.verdict


def test_before_the_kernel_is_loaded_nothing_can_be_said(tmp_path: Path) -> None:
    check = check_elf(Bytes(RAM_BYTES), load_elf(make_elf(tmp_path, "own")))
    assert not check.same
    assert "cannot be compared yet" in check.verdict


def test_a_few_changed_bytes_are_a_debuggers(tmp_path: Path) -> None:
    memory = loaded()
    memory.put(0x10100, b"\xcc")
    assert check_elf(memory, load_elf(make_elf(tmp_path, "own"))).same


def test_a_costly_source_is_compared_in_four_pieces(tmp_path: Path) -> None:
    memory = loaded(cost=1)
    check = check_elf(memory, load_elf(make_elf(tmp_path, "own")))
    assert check.same
    assert check.compared == 1024
    assert memory.packets - 1 == 4


def test_files_that_are_no_kernel_are_refused_with_one_sentence(tmp_path: Path) -> None:
    text, half = tmp_path / "text", tmp_path / "half"
    text.write_text("no ELF at all")
    elf = make_elf(tmp_path, "own").read_bytes()
    for size in (4, 20, 52, 60, len(elf) // 2, len(elf) - 40):
        half.write_bytes(elf[:size])
        with pytest.raises(BadData, match="kernel's ELF file"):
            load_elf(half)
    for path in (text, tmp_path / "none", tmp_path / "own.o"):
        with pytest.raises(BadData, match="kernel's ELF file"):
            load_elf(path)


def test_a_section_that_says_it_is_huge_costs_no_memory(tmp_path: Path) -> None:
    path = make_elf(tmp_path, "k.elf")
    data = bytearray(path.read_bytes())
    elf = ELFFile(io.BytesIO(bytes(data)))
    number = next(n for n, section in enumerate(elf.iter_sections()) if section.name == ".text")
    at = elf["e_shoff"] + number * elf["e_shentsize"] + 20
    data[at : at + 4] = (1 << 30).to_bytes(4, "little")
    path.write_bytes(data)
    tracemalloc.start()
    try:
        load_elf(path)
        loaded_sections(path)
        assert tracemalloc.get_traced_memory()[1] < 100 << 20
    finally:
        tracemalloc.stop()
