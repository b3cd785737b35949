"""Has JIT code instructions that it must not have, or that its CPU is not set up for?"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from bareflow_gdb.checks.check import Check
from bareflow_gdb.checks.subject import KERNEL, REGISTERS, Subject
from bareflow_gdb.guest.base.finding import Finding
from bareflow_gdb.guest.code.paths import NO_INSTRUCTION, Step

# Intel SDM volume 3, 5.9: privileged ones; besides those that leave the function or interrupt it.
_PRIVILEGED = re.compile(
    r"hlt|cli|sti|clts|invd|wbinvd|invlpg|l[gi]dt|lldt|ltr|lmsw|rdmsr|wrmsr|in|out|ins[bwd]|outs[bwd]"
    r"|int|int1|int3|into|iretd?|retf|lcall|ljmp|rsm|sys(?:enter|exit|call|ret)"
)
_SYSTEM_REGISTER = re.compile(r"\b[cd]r[0-9]\b")
_UNDEFINED = (NO_INSTRUCTION, "ud0", "ud1", "ud2")
_AVX = re.compile(r"\b[yz]mm[0-9]")
_SSE = re.compile(r"\bxmm[0-9]")
_VECTOR = re.compile(r"\b[xy]mm[0-9]")
_EM_OR_TS = 1 << 2 | 1 << 3
_OSFXSR, _OSXSAVE = 1 << 9, 1 << 18


def _look(subject: Subject) -> Iterator[Finding]:
    unavailable = _unavailable(subject)
    features = {} if subject.kernel.root is None else {one.number: one.features for one in subject.versions}
    for one in subject.walked:
        for step in one.paths.steps.values():
            name = step.mnemonic.rpartition(" ")[2]
            if name in _UNDEFINED:
                why, then = "is no instruction of any x86 CPU", "it is an invalid opcode (#UD) when it is reached"
            elif _PRIVILEGED.fullmatch(name) or (name == "mov" and _SYSTEM_REGISTER.search(step.operands)):
                why, then = "is a privileged instruction, or leaves the function", "it changes the machine itself"
            elif reason := next((text for has, text in unavailable if has(step)), ""):
                why, then = f"is not available: {reason}", "it is an exception when it is reached"
            elif _unnamed(step, features.get(one.code.version or 0)):
                why = "is a vector instruction, and its version does not say that it has any such"
                then = "nobody asked whether the CPU has it"
            else:
                continue
            yield Finding(
                what=f"{one.code.title} has `{step}`, which {why}",
                where=f"0x{step.address:08x}",
                evidence=f"the entry 0x{one.code.entry:08x} leads there, and the bytes are those that were emitted",
                consequence=then,
                next_step=f"`disas {one.code.function}` shows the code; look at the compiler's target and flags",
            )
            break


def _unavailable(subject: Subject) -> list[tuple[Callable[[Step], bool], str]]:
    """What tells such an instruction, and why it is not available; nothing where no registers can be asked."""
    if subject.asking_stops or subject.lacks(REGISTERS):
        return []
    control = subject.registers.control
    found: list[tuple[Callable[[Step], bool], str]] = []
    if not control["cr4"] & _OSFXSR:
        found.append((lambda step: bool(_SSE.search(step.operands)), "CR4.OSFXSR is 0, SSE is off"))
    if not control["cr4"] & _OSXSAVE:
        found.append((lambda step: bool(_AVX.search(step.operands)), "CR4.OSXSAVE is 0, AVX is off"))
    if control["cr0"] & _EM_OR_TS:
        found.append((_is_x87, "CR0.EM or CR0.TS is 1, the x87 is off"))
    return found


def _unnamed(step: Step, features: tuple[str, ...] | None) -> bool:
    """None = whose code it is cannot be told."""
    vex = step.mnemonic.startswith("v") and _VECTOR.search(step.operands)
    if features is None or not (vex or _SSE.search(step.operands)):
        return False
    return not any(word.startswith("avx" if vex else ("sse", "ssse")) for word in features)


def _is_x87(step: Step) -> bool:
    return step.mnemonic.startswith("f") and not step.mnemonic.startswith(("fence", "fx"))


CHECK = Check("instructions", "JIT code: what is privileged, undefined, or off in CR0 and CR4", (KERNEL,), _look)
