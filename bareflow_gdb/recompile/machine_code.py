"""Does machine code keep to what the guest offers: its CPU's instructions, an EBP frame, cdecl?

Looked at is what was really emitted, whoever compiled it: `build module` and `recompile` ask here alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from functools import cache, partial
from typing import Any

from bareflow_gdb.abi import layouts
from bareflow_gdb.guest.base.values import feature_name
from bareflow_gdb.guest.code.decoding import decode
from bareflow_gdb.guest.code.prologue import FRAME_SET_UP
from bareflow_gdb.recompile.objects import Area, Compiled, Piece, Symbol
from bareflow_gdb.recompile.refusal import LinkError

_CONDITIONS = "o no b ae e ne be a s ns p np l ge le g"
# Intel SDM volume 2 of the P6 family, in capstone's spelling. Privileged ones are the user's own affair.
# TZCNT is BSF with a prefix that the P6 ignores; LLVM writes it where both give the same.
_INTEGER = """
    aaa aad aam aas adc add and arpl bound bsf bsr bswap bt btc btr bts call cbw cdq clc cld cli clts cmc cmp cmpsb
    cmpsd cmpsw cmpxchg cmpxchg8b cpuid cwd cwde daa das dec div endbr32 enter hlt idiv imul in inc insb insd insw int
    int1 int3 into invd invlpg iret iretd jcxz jecxz jmp lahf lar lcall lds lea leave les lfs lgdt lgs lidt ljmp lldt
    lmsw lodsb lodsd lodsw loop loope loopne lsl lss ltr mov movsb movsd movsw movsx movzx mul neg nop not or out
    outsb outsd outsw pause pop popal popaw popfd popf push pushal pushaw pushf pushfd rcl rcr rdmsr rdpmc rdtsc ret
    retf rol ror rsm sahf sal salc sar sbb scasb scasd scasw sgdt shl shld shr shrd sidt sldt smsw stc std sti stosb
    stosd stosw str sub test tzcnt ud0 ud1 ud2 verr verw wait wbinvd wrmsr xadd xchg xlatb xor
"""
_X87 = """
    f2xm1 fabs fadd faddp fbld fbstp fchs fclex fcom fcomi fcomp fcompi fcompp fcomip fcos fdecstp fdiv fdivp fdivr
    fdivrp ffree ffreep fiadd ficom ficomp fidiv fidivr fild fimul fincstp finit fist fistp fisub fisubr fld fld1
    fldcw fldenv fldl2e fldl2t fldlg2 fldln2 fldpi fldz fmul fmulp fnclex fninit fnop fnsave fnstcw fnstenv fnstsw
    fpatan fprem fprem1 fptan frndint frstor fsave fscale fsetpm fsin fsincos fsqrt fst fstcw fstenv fstp fstpnce
    fstsw fsub fsubp fsubr fsubrp ftst fucom fucomi fucomip fucomp fucompi fucompp fxam fxch fxtract fyl2x fyl2xp1
"""
_KNOWN = frozenset(
    [*_INTEGER.split(), *_X87.split()]
    + [stem + condition for stem in ("j", "set", "cmov") for condition in _CONDITIONS.split()]
    + [f"fcmov{condition}" for condition in ["b", "e", "be", "u", "nb", "ne", "nbe", "nu"]]
)
_FRAME = re.compile(r"esp, (0x[0-9a-f]+)")
STACK = layouts.const("BF_STACK_TOP") - layouts.const("BF_STACK_BOTTOM")
MOST_STACK = STACK // 2
"""Of one function: nothing lies below the stack that would stop an overrun."""
_CLOCKS = frozenset(["rdtsc", "rdpmc"])
_PREFIXES = frozenset(["lock", "rep", "repe", "repne", "repz", "repnz", "notrack", "data16", "addr16"])
_WIDE_REGISTER = re.compile(r"\b(?:[xyz]?mm\d+|k[0-7]|bnd[0-3]|tmm\d)\b")
_NO_VECTOR = re.compile(r"\b(?:zmm\d+|mm\d|k[0-7]|bnd[0-3]|tmm\d)\b")
_GROUPS = {
    "sse1": "sse",
    "sse2": "sse2",
    "sse3": "sse3",
    "ssse3": "ssse3",
    "sse41": "sse4_1",
    "sse42": "sse4_2",
    "avx": "avx",
    "avx2": "avx2",
}
"""Capstone's name for what an instruction needs, and the contract's."""
# Of these it does not say it. With VEX they need AVX, those of SSSE3 on 256 bits AVX2.
_UNSAID = {
    name: rung
    for rung, names in (
        ("sse", "cvtss2si rcpss rsqrtss sqrtss"),
        ("sse2", "cvtpd2dq cvtpd2ps cvtsd2si cvttpd2dq pextrw pinsrw sqrtsd"),
        ("ssse3", "pabsb pabsd pabsw palignr phaddsw phsubsw pmaddubsw pmulhrsw"),
        ("sse4_1", "phminposuw roundpd roundps"),
        ("sse4_2", "pcmpestrm pcmpistrm"),
    )
    for name in names.split()
}
_LEFT_OUT = re.compile(r"v?(?:p?gather|aes|pclmul|maskmovdqu|cvtpi2|crc32|prefetch|movnti)")
"""What the guest's own judge (firmware/kernel/vector_instructions.c) does not know: compilers make it of intrinsics."""


def check(compiled: Compiled, entry: str, vectors: Collection[str] = ()) -> frozenset[str]:
    """Which of `vectors` (`enum bf_feature`) the code of the object has.

    Raises LinkError unless a guest with those can execute all of it, and call `entry`.
    """
    start = compiled.function(entry)
    used: set[str] = set()
    for piece in compiled.pieces:
        if piece.area is Area.CODE:
            used |= _check_instructions(compiled, piece, start, vectors)
    assert start.piece is not None
    begin = start.piece.data[start.value : start.value + 16]
    if begin[: len(FRAME_SET_UP)] != FRAME_SET_UP:
        raise LinkError(
            f"{entry} does not set up an EBP frame (push ebp; mov ebp, esp) but begins with {begin[:4].hex(' ')}; "
            "compile with -fno-omit-frame-pointer, without -fcf-protection, -fpatchable-function-entry and -mfentry"
        )
    return frozenset(used)


def executed(mnemonic: str, operands: str) -> str:
    """What capstone spells so, without its prefixes; "" when the guest cannot execute it."""
    name = next((word for word in mnemonic.split() if word not in _PREFIXES), mnemonic)
    return name if name in _KNOWN and not _WIDE_REGISTER.search(operands) else ""


def vector_of(code: bytes) -> str:
    """What of `enum bf_feature` the instruction needs that the bytes begin with; "" = it is none of SSE and AVX."""
    found = next(_detailed().disasm(code, 0, 1), None)
    if found is None or _NO_VECTOR.search(found.op_str) or _LEFT_OUT.match(found.mnemonic):
        return ""
    for group in map(found.group_name, found.groups):
        if group in _GROUPS:
            return _GROUPS[group]
    if found.mnemonic in _UNSAID:
        return _UNSAID[found.mnemonic]
    rung = _UNSAID.get(found.mnemonic.removeprefix("v"), "")
    if rung and found.mnemonic.startswith("v"):
        return "avx2" if rung == "ssse3" and "ymm" in found.op_str else "avx"
    return "avx2" if found.mnemonic == "vbroadcasti128" else ""


@cache
def _detailed() -> Any:
    from capstone import CS_ARCH_X86, CS_MODE_32, Cs

    decoder = Cs(CS_ARCH_X86, CS_MODE_32)
    decoder.detail = True
    return decoder


def instructions(
    code: bytes, place: Callable[[int], str], vectors: Collection[str] = ()
) -> Iterator[tuple[int, str, str, str]]:
    """Offset, mnemonic without prefixes, operands, and which of `vectors` it is of, of each; `place` words an offset.

    Raises LinkError at the first one that a guest with these vector instructions cannot execute.
    """
    from capstone import CS_ARCH_X86, CS_MODE_32, Cs

    end = 0
    for address, size, mnemonic, operands in decode(Cs(CS_ARCH_X86, CS_MODE_32), code):
        end = address + size
        name, vector = executed(mnemonic, operands), ""
        if not name and vectors:
            vector = vector_of(code[address:end])
            name = mnemonic if vector in vectors else ""
        if not name:
            raise LinkError(
                f"{place(address)} has the instruction `{f'{mnemonic} {operands}'.strip()}`, which the guest's CPU "
                + (
                    f"({', '.join(map(feature_name, vectors))}) cannot execute; compile for that, or without vectors"
                    if vectors
                    else "(i686 without SSE and MMX) cannot execute; compile with -march=i686 -mno-sse -mno-mmx"
                )
            )
        yield address, name, operands, vector
    if end < len(code):
        raise LinkError(
            f"{place(end)} has bytes that are not an instruction ({code[end : end + 8].hex(' ')}); "
            "put data into a section of its own"
        )


def uses(code: bytes) -> frozenset[str]:
    """Which of "x87", "clock" and "avx" it has instructions for; bytes that are none are passed over."""
    from capstone import CS_ARCH_X86, CS_MODE_32, Cs

    decoder = Cs(CS_ARCH_X86, CS_MODE_32)
    decoder.skipdata = True
    found = list(decoder.disasm_lite(code, 0))
    names = {words.split()[-1] for _, _, words, _ in found}
    x87, clock = any(name.startswith("f") for name in names), not _CLOCKS.isdisjoint(names)
    avx = any(name.startswith("v") and _WIDE_REGISTER.search(operands) for _, _, name, operands in found)
    return frozenset(word for word, used in (("x87", x87), ("clock", clock), ("avx", avx)) if used)


def _check_instructions(compiled: Compiled, piece: Piece, entry: Symbol, vectors: Collection[str]) -> set[str]:
    used: set[str] = set()
    for address, name, operands, vector in instructions(piece.data, partial(_place, compiled, piece), vectors):
        used.update([vector] if vector else [])
        taken = _FRAME.fullmatch(operands) if name == "sub" else None
        if taken and int(taken[1], 16) > MOST_STACK:
            raise LinkError(
                f"{_place(compiled, piece, address)} takes {int(taken[1], 16):,} bytes of stack, and the guest has "
                f"{STACK:,} for everything; put large arrays into data"
            )
        pops = name == "ret" and operands not in ("", "0")
        if pops and piece is entry.piece and 0 <= address - entry.value < entry.size:
            raise LinkError(
                f"{entry.name} takes its arguments off the stack itself (`ret {operands}`), and the guest calls it as "
                "cdecl; declare it without stdcall or fastcall"
            )
    return used


def _place(compiled: Compiled, piece: Piece, offset: int) -> str:
    """The function around an offset, as `f+0x12`."""
    below = [
        symbol
        for symbol in compiled.symbols
        if symbol.piece is piece and symbol.name and not symbol.is_section and symbol.value <= offset
    ]
    nearest = max(below, key=lambda symbol: symbol.value, default=None)
    return f"{nearest.name}+0x{offset - nearest.value:x}" if nearest else f"{piece.name}+0x{offset:x}"
