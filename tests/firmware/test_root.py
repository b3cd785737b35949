"""Does the root descriptor lead where the linker put things? Do hooks and the swap's store stand apart?"""

from __future__ import annotations

import subprocess
import zlib
from pathlib import Path

import capstone
import pytest
from kernel_view import Kernel, text

from bareflow_gdb.abi import layouts
from bareflow_gdb.qemu.machine import Machine

PAGE = 4096
CODE_SYMBOLS = "tTwW"
HOOKS = ("swap", "exception", "pool_fail", "register", "module_load", "reject", "phase", "kernel")


@pytest.fixture(scope="module")
def kernel(idle_machine: Machine) -> Kernel:
    return Kernel(idle_machine)


@pytest.fixture(scope="module")
def symbols(firmware: Path) -> dict[str, tuple[int, str]]:
    """Address and type letter of every symbol of the kernel, from nm."""
    lines = subprocess.run(["llvm-nm-19", str(firmware / "kernel.elf")], check=True, capture_output=True, text=True)
    found = (line.split() for line in lines.stdout.splitlines())
    # A weak symbol that nothing defines has no address.
    return {words[2]: (int(words[0], 16), words[1]) for words in found if len(words) == 3}


def test_the_checksum_covers_the_constant_words(kernel: Kernel) -> None:
    at = layouts.offset("bf_root", "checksum")
    raw = bytearray(kernel.read(kernel.root_address, kernel.root.checked_size))
    raw[at : at + 4] = bytes(4)
    assert zlib.crc32(raw) == kernel.root.checksum
    assert kernel.root.checked_size == layouts.offset("bf_root", "thresholds")
    assert kernel.root_address % 16 == 0


def test_every_pointer_is_the_linkers(kernel: Kernel, symbols: dict[str, tuple[int, str]]) -> None:
    root = kernel.root
    assert kernel.root_address == symbols["bareflow_root"][0]
    pointers = {
        "module_manager": root.module_manager,
        "adaptive_jit": root.adaptive_jit,
        "function_table": root.function_table,
        "version_table": root.version_table,
        "module_images": root.module_images,
        "g_pools": root.pools,
        "bareflow_exception": root.exception,
        "bareflow_log": root.log_buffer,
        "bareflow_status": root.status,
        "_end": root.image_end,
    }
    for name, address in pointers.items():
        assert address == symbols[name][0], name
    assert root.function_profiler == root.adaptive_jit


def test_every_export_is_a_function_of_the_kernel(kernel: Kernel, symbols: dict[str, tuple[int, str]]) -> None:
    exports = kernel.records("bf_symbol", kernel.root.exports, kernel.root.export_count)
    names = [text(export.name) for export in exports]
    assert {"memcpy", "memset", "memmove", "strlen", "strcmp", "__udivdi3", "kprintf"} <= set(names)
    for name, export in zip(names, exports, strict=True):
        address, kind = symbols[name]
        assert export.address == address and kind in CODE_SYMBOLS, name


def test_hooks_and_publishing_store_share_a_page_with_no_other_code(symbols: dict[str, tuple[int, str]]) -> None:
    start, end = symbols["bareflow_hooks_start"][0], symbols["bareflow_hooks_end"][0]
    assert start % PAGE == end % PAGE == 0
    inside = {name for name, (at, kind) in symbols.items() if start <= at < end and kind in CODE_SYMBOLS}
    hooks = {f"bareflow_hook_{name}" for name in HOOKS}
    assert hooks | {"adaptive_jit_swap_code", "bareflow_publish_store"} <= inside
    assert inside <= hooks | {"adaptive_jit_swap_code", "bareflow_publish_store", "bareflow_hooks_start"}


def test_at_the_publishing_store_edx_is_the_slot_and_eax_the_code(
    kernel: Kernel, symbols: dict[str, tuple[int, str]]
) -> None:
    at = symbols["bareflow_publish_store"][0]
    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_32)
    store = next(decoder.disasm(kernel.read(at, 16), at))
    assert f"{store.mnemonic} {store.op_str}" == "mov dword ptr [edx], eax"


def test_what_the_guest_writes_is_in_no_page_with_code(kernel: Kernel, symbols: dict[str, tuple[int, str]]) -> None:
    written = {
        name: symbols[name][0]
        for name in ("bareflow_root", "adaptive_jit", "function_table", "version_table", "bareflow_status")
    }
    last_code = max(at for at, kind in symbols.values() if kind in CODE_SYMBOLS)
    assert all(at // PAGE > last_code // PAGE for at in written.values())
    assert kernel.root.image_end <= layouts.const("BF_STACK_BOTTOM")
