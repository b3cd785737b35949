"""Are vector instructions found rightly on each CPU, switched on, told, and refused beyond what the CPU has?"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from capstone import CS_ARCH_X86, CS_MODE_32, Cs
from elftools.elf.elffile import ELFFile
from kernel_view import Kernel, MailHost
from machines import QUICK, wait_for

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.qemu.image import RootSettings
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.recompile.recipe import RUNGS, Recipe
from bareflow_gdb.recompile.service import Service

HAS = {"max": RUNGS, "qemu32": RUNGS[:3], "pentium3": RUNGS[:1], "pentium2": ()}
VECTOR = re.compile(r"\b[xyz]?mm\d")
OSFXSR, OSXMMEXCPT, OSXSAVE = 1 << 9, 1 << 10, 1 << 18
NOT_EXECUTABLE = layouts.const("BF_REASON_NOT_EXECUTABLE")
FRAME, BACK = bytes.fromhex("5589e5"), bytes.fromhex("5dc3")
# vmovd xmm0, [ebp+8]; vpaddd ymm0, ymm0, ymm0; vmovd eax, xmm0; vzeroupper
AVX2_CODE = FRAME + bytes.fromhex("c5f96e4508 c5fdfec0 c5f97ec0 c5f877") + BACK
# movd xmm0, [ebp+8]; paddd xmm0, xmm0; movd eax, xmm0
SSE2_CODE = FRAME + bytes.fromhex("660f6e4508 660ffec0 660f7ec0") + BACK

OnCpu = Callable[[str], Kernel]


@pytest.fixture(scope="module")
def on_cpu(image: Path) -> Iterator[OnCpu]:
    """The kernel on a CPU, at rest; each is booted once."""
    machines: dict[str, Machine] = {}

    def boot(cpu: str) -> Kernel:
        if cpu not in machines:
            machines[cpu] = launch(image, cpu=cpu, settings=RootSettings(thresholds=QUICK))
        wait_for_stage(machines[cpu], "idle")
        return Kernel(machines[cpu])

    yield boot
    for machine in machines.values():
        machine.stop()


def bits(*features: str) -> int:
    return sum(layouts.const(f"BF_FEATURE_{feature.upper()}") for feature in features)


def installed(kernel: Kernel, code: bytes, features: int) -> Any:
    """What became of it: the slot, when its request has ended."""
    host = MailHost(kernel, "primes")
    slot = host.ask(3)
    host.kernel.write(host.address + layouts.offset("bf_mail_slot", "features"), bytes([features]))
    host.stage(code)
    return host.wait_until_done(slot.request)


@pytest.mark.parametrize("cpu", HAS)
def test_a_kernel_finds_and_enables_what_its_cpu_has(on_cpu: OnCpu, cpu: str) -> None:
    kernel = on_cpu(cpu)
    assert kernel.status.cpu_features == bits(*HAS[cpu])
    record = Guest(kernel.memory).kernel().cpu()
    assert record.vectors == HAS[cpu] and record.registers is not None
    cr4 = record.registers.cr4
    assert cr4 & (OSFXSR | OSXMMEXCPT) == ((OSFXSR | OSXMMEXCPT) if HAS[cpu] else 0)
    assert bool(cr4 & OSXSAVE) == ("avx" in HAS[cpu])
    # EM and TS off, MP and NE on.
    assert record.registers.cr0 & 0x2E == 0x22
    wrong = [name for name, function in kernel.functions.items() if function.last_result != function.expected]
    assert not wrong and len(kernel.functions) == 12


def test_code_with_vectors_that_it_names_runs(on_cpu: OnCpu) -> None:
    kernel = on_cpu("max")
    argument = kernel.functions["primes"].arguments[0]
    for code, features in ((AVX2_CODE, bits("avx", "avx2")), (SSE2_CODE, bits("sse2"))):
        slot = installed(kernel, code, features)
        version = kernel.versions("primes")[-1]
        assert (slot.done_reason, version.number, version.features) == (0, slot.done_version, features)
        line = f"[CALL] primes: version {version.number} at O3: {2 * argument} "
        wait_for(lambda line=line: line in kernel.log, line)  # type: ignore[misc]


@pytest.mark.parametrize(
    ("cpu", "code", "features"),
    [
        ("max", AVX2_CODE, 0),
        ("max", AVX2_CODE, bits("avx")),
        ("max", SSE2_CODE, bits("sse")),
        ("qemu32", AVX2_CODE, bits("avx", "avx2")),
        ("qemu32", SSE2_CODE, bits("sse2", "ssse3")),
        ("pentium2", SSE2_CODE, bits("sse2")),
    ],
)
def test_what_the_cpu_has_not_or_the_host_does_not_name_is_refused(
    on_cpu: OnCpu, cpu: str, code: bytes, features: int
) -> None:
    kernel = on_cpu(cpu)
    before = kernel.functions["primes"].version
    slot = installed(kernel, code, features)
    assert slot.done_reason == NOT_EXECUTABLE
    assert kernel.functions["primes"].version == before
    assert "[MAILBOX] primes: rejected: not for this CPU\n" in kernel.log


def test_the_host_compiles_for_what_the_guest_has_and_refuses_more(on_cpu: OnCpu) -> None:
    large, small = on_cpu("max"), on_cpu("qemu32")
    with Service(large.memory) as service:
        outcome = service.request("gemm_tile", 3, recipe=Recipe("haswell"))
        assert outcome.installed and outcome.right
        assert large.versions("gemm_tile")[-1].features == bits("avx", "avx2")
    with Service(small.memory) as service:
        refused = service.request("gemm_tile", 3, recipe=Recipe("haswell"))
        assert not refused.installed and refused.reason == "not_executable"
        assert "the guest has SSE, SSE2, SSE3 and haswell needs SSSE3, SSE4.1, SSE4.2, AVX, AVX2 too" in refused.message
        outcome = service.request("gemm_tile", 3, recipe=Recipe("guest"))
        assert outcome.installed and outcome.right
        # Its published code computes with the x87: both were run on the host's CPU.
        assert outcome.verification is not None and outcome.verification.state == "agrees"
        assert 0 < small.versions("gemm_tile")[-1].features <= bits(*HAS["qemu32"])


def test_the_kernels_own_code_has_no_vector_and_no_x87_instruction(firmware: Path) -> None:
    """Interrupts save neither: what a version has in them stays. Only the boot sets both up."""
    decoder = Cs(CS_ARCH_X86, CS_MODE_32)
    decoder.skipdata = True
    objects = sorted((firmware / "kernel").glob("*.o"))
    assert len(objects) > 40
    found: dict[str, set[str]] = {}
    for path in objects:
        with path.open("rb") as file:
            elf = ELFFile(file)
            code = [part.data() for part in elf.iter_sections() if part["sh_flags"] & 4 and part["sh_size"]]
        for _, _, name, operands in (line for data in code for line in decoder.disasm_lite(data, 0)):
            if name.startswith(("f", "ldmxcsr", "stmxcsr", "xsetbv", "xsave", "xrstor")) or VECTOR.search(operands):
                found.setdefault(path.name, set()).add(name)
    assert found == {"cpu.o": {"fninit", "ldmxcsr", "xsetbv"}}
