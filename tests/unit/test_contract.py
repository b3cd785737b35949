"""What does not keep to the contract of an entry is rewritten where it means the same, and refused everywhere else.

The same checks answer in `build wrap`, `build module` and `recompile`.
"""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest_code import MODULES, bitcode, compile_c
from i686_program import Calls
from machines import SECONDS

from bareflow_gdb.abi import layouts
from bareflow_gdb.build import wrap
from bareflow_gdb.build.embed import parse_module
from bareflow_gdb.build.module import link_module, read_module
from bareflow_gdb.cli import main as cli
from bareflow_gdb.errors import UsageError
from bareflow_gdb.recompile import machine_code
from bareflow_gdb.recompile.compiler import Compilation, Compiler
from bareflow_gdb.recompile.death import death
from bareflow_gdb.recompile.link import Linked, Room, link
from bareflow_gdb.recompile.objects import read_object
from bareflow_gdb.recompile.pipe import encode
from bareflow_gdb.recompile.refusal import BadBitcode, CompilerDied, LinkError, Refused

SSE = ["-march=pentium4", "-msse2", "-mfpmath=sse"]
ADD = "int f(int a, int b) { return a + b; }"
FLOATS = "int f(int a, int b) { double s = 0; for (int n = 1; n < b; n++) s += (double)a / n; return (int)(s * 100); }"
VECTOR = "typedef float v4 __attribute__((vector_size(16)));"
CODE, RODATA = 0x20000, 0x480010


@pytest.fixture(scope="module")
def compiler() -> Iterator[Compiler]:
    with Compiler(timeout=SECONDS) as compiler:
        yield compiler


def accepted(compiler: Compiler, payload: bytes, level: int) -> Compilation:
    """What `recompile` does with bitcode, as far as it needs no guest."""
    made = compiler.compile(payload, "f", level)
    machine_code.check(read_object(made.data), "f")
    return made


def result(made: Compilation, a: int, b: int) -> int:
    linked = link(made.data, "f", Room(CODE, 1 << 16, RODATA, 1 << 16), {}, {})
    assert isinstance(linked, Linked)
    calls = Calls()
    calls.write(CODE, linked.code)
    calls.write(RODATA, linked.rodata)
    return calls.call(CODE + linked.entry_offset, a, b)


@pytest.mark.parametrize(
    ("source", "flags", "note"),
    [
        (FLOATS, SSE, "built for pentium4, fxsr, sse, sse2: compiled for the guest's i686 without SSE and MMX"),
        (FLOATS, ["-march=haswell"], "haswell"),
        (FLOATS, ["-mno-80387"], "no x87"),
        (VECTOR + "int f(int a, int b) { v4 v = {a, b}; v = v * v; return (int)(v[0] + v[1]); }", SSE, "sse2"),
        ("int f(int a, int b) { return __builtin_popcount(a) + __builtin_ctz(b); }", ["-march=haswell"], "popcnt"),
        ("int f(int a, int b) { volatile char x[64]; x[a & 63] = 5; return x[a & 63] + b;"
         " }", ["-fstack-protector-all"], "canary"),
        (ADD, ["-fcf-protection=full"], "branch protection"),
        (ADD, ["--target=i686-linux-gnu"], ""),
        (ADD, ["-mno-red-zone"], ""),
        ("int f(int a, int b) { volatile int x[2] __attribute__((aligned(32))) = {a, b};"
         " return x[0] + x[1]; }", ["-mstackrealign"], ""),
        ("__attribute__((stdcall, noinline)) static int g(int a, int b) { return a - b;"
         " } int f(int a, int b) { return g(b, a); }", [], ""),
        ('int f(int a, int b) { int r; __asm__("movl %1, %0;'
         ' addl %2, %0" : "=&r"(r) : "r"(a), "r"(b)); return r; }', [], ""),
        ('__asm__("twice: movl 4(%esp), %eax; addl %eax, %eax; ret"); int twice(int);'
         ' int f(int a, int b) { return twice(a) + b; }', [], ""),
        ("__attribute__((target(\"avx2\"))) int f(int a, int b) { return a * b; }", [], "avx2"),
        ('int f(int a, int b) { int r; __asm__(".pushsection .rodata.t, \\"a\\"; .balign 4; .Lt: .long 5; .popsection;'
         ' movl .Lt, %0; addl %1, %0; addl %2, %0" : "=&r"(r) : "r"(a), "r"(b)); return r; }', [], ""),
        ('int f(int a, int b) { int r; __asm__("{movl $.L%=-., %0; .L%=: movl|mov} {%1, %0|%0, %1}" : "=&r"(r)'
         ' : "r"(a)); return r + b; }', [], ""),
    ],
)  # fmt: skip
def test_what_means_the_same_on_the_guest_is_compiled_for_it_and_told(
    compiler: Compiler, tmp_path: Path, source: str, flags: list[str], note: str
) -> None:
    payload = bitcode(tmp_path, source, *flags)
    plain = compile_c(tmp_path, source.replace('__attribute__((target("avx2")))', ""), "-O1", name="plain")
    expected = result(Compilation(plain, 1, (), (), {}), 6, 4)
    for level in range(4):
        made = accepted(compiler, payload, level)
        assert note in " ".join(made.notes) and bool(note) == bool(made.notes)
        assert result(made, 6, 4) == expected
    assert wrap.wrap(payload, "f", "f")


@pytest.mark.parametrize(
    ("source", "flags", "words"),
    [
        ("int f(int a, int b, int c) { return a * b + c; }", [], r"f is i32 \(i32, i32, i32\), the guest calls"),
        ("int f(int a) { return a; }", [], r"f is i32 \(i32\)"),
        ("int f(int a, ...) { return a; }", [], r"f is i32 \(i32, \.\.\.\)"),
        ("void f(int a, int b) { (void)a, (void)b; }", [], "f is void"),
        ("double f(int a, int b) { return (double)a / b; }", [], "f is double"),
        ("long long f(int a, int b) { return a + b; }", [], "f is i64"),
        ("struct s { int x[3]; }; struct s f(int a, int b) { struct s x = {{a, b}}; return x; }", [], "f is void"),
        ("__attribute__((stdcall)) " + ADD, [], "x86_stdcallcc, the guest calls it as cdecl"),
        ("__attribute__((fastcall)) " + ADD, [], "x86_fastcallcc"),
        (ADD, ["-mrtd"], "x86_stdcallcc"),
        (ADD, ["-mregparm=3"], "f takes arguments in registers"),
        ("int f(int a, int b) { char x[64]; __builtin_memset(x, a, b); return x[a & 63]; }"
         " __attribute__((regparm(2))) int g(int a, int b); int h(int a) { return g(a, a); }", [],
         "g takes arguments in registers, the kernel's functions"),
        ("static __attribute__((regcall, noinline)) int g(int x) { return x * x;"
         " } int f(int a, int b) { return g(a) + b; }",
         [], "x86_regcallcc"),
        ("__attribute__((used)) static " + ADD, [], "f is internal"),
        ("_Thread_local int t; int f(int a, int b) { return t += a + b; }", [], "t is thread-local"),
        ("int x; __attribute__((constructor)) void c(void) { x = 1; } int f(int a, int b) { return a + b + x; }", [],
         "llvm.global_ctors needs a run-time start-up"),
        ('void c(void) {} __attribute__((section(".init_array"), used)) void *p = c; ' + ADD, [], "p needs a run-time"),
        ('int g1(int a) { return a; } void *r(void) { return g1; } int g(int) __attribute__((ifunc("r")));'
         " int f(int a, int b) { return g(a) + b; }", [], "g is an ifunc"),
        ("#include <emmintrin.h>\nint f(int a, int b) { __m128i x = _mm_set1_epi32(a);"
         " return _mm_cvtsi128_si32(_mm_madd_epi16(x, x)) + b; }", SSE, r"llvm\.x86\.sse2\.pmadd\.wd is an intrinsic"),
        (ADD, ["--target=i686-pc-windows-msvc"], r"windows \(COFF\), not a bare i686 with ELF"),
        (ADD, ["--target=i586-intel-elfiamcu", "-march=lakemont"], "elfiamcu"),
        (ADD, ["-m16"], "16-bit code"),
        (ADD, ["--target=x86_64-linux-gnux32", "-march=x86-64"], "x86_64-unknown-linux-gnux32"),
        (ADD, ["-mstack-alignment=64"], "a stack aligned to 64"),
        (ADD, ["-fpatchable-function-entry=4"], "does not set up an EBP frame"),
        ('__attribute__((naked)) int f(int a, int b) { __asm__("movl $7, %eax; ret");'
         ' }', [], "begins with b8 07 00 00"),
        ('int f(int a, int b) { __asm__("addps %xmm0, %xmm1"); return a + b;'
         ' }', [], r"f\+0x\w+ has the instruction `addps"),
        ('int f(int a, int b) { __asm__("mfence"); return a + b; }', [], "the instruction `mfence`"),
        ('int f(int a, int b) { __asm__(".byte 0xff, 0xff, 0xff, 0xff"); return a; }', [], "not an instruction"),
        ('int f(int a, int b) { __asm__("no_such_instruction"); return a; }', [],
         "no_such_instruction'.*the inline assembly is not for this target"),
        ('int f(int a, int b) { __asm__(".pushsection .debug_line; .byte 1; .popsection"); return a; }', [],
         r"has the directive \.debug_line, .*leave it out"),
        ('__asm__(".section .debug_gdb_scripts,\\"MS\\",@progbits,1\\n.byte 4"); ' + ADD, [], r"\.debug_gdb_scripts"),
        ('__asm__("x: .incbin \\"/etc/passwd\\""); ' + ADD, [], r"the directive \.incbin"),
        ('int f(int a, int b) { __asm__("nop\\n\\t.INCBIN \\"/etc/passwd\\""); return a; }', [], r"directive \.INCBIN"),
        ('int f(int a, int b) { __asm__(".include \\"/dev/zero\\""); return a; }', [], r"directive \.include"),
        ('int f(int a, int b) { __asm__(".in{c|x}bin \\"/etc/passwd\\"" :: "r"(b)); return a; }', [],
         r"directive \.incbin"),
        ('int f(int a, int b) { __asm__(".macro m x\\n.inc\\\\x \\"/etc/passwd\\"\\n.endm\\nm bin"); return a; }', [],
         r"directive \.macro"),
        ('int f(int a, int b) { __asm__(".%c0 \\"/etc/passwd\\"" :: "i"(f)); return a; }', [], r"directive \.\$"),
        ('void g(void) __asm__(".incbin"); int f(int a, int b) {'
         ' __asm__("%c0 \\"/etc/passwd\\"" :: "i"(g)); return a; }', [],
         r"\.incbin is a name that the assembler takes for a directive"),
        ('__asm__(".cfi_startproc; .cfi_endproc"); ' + ADD, [], r"directive \.cfi_startproc"),
        (ADD, ["-fprofile-instr-generate"], r"llvm\.instrprof\.increment belongs to .*\(profiling\); compile with"),
        ("int f(int a, int b) { return a / b; }", ["-fsanitize=undefined"], r"__ubsan_\w+ belongs to .*-fno-sanitize"),
        (ADD, ["-fsplit-stack"], "compile without -fsplit-stack"),
        (ADD, ["-mspeculative-load-hardening"], "compile without -mspeculative-load-hardening"),
        ("int f(int a, int b) { volatile char x[40000]; for (int i = 0; i < 40000; i++) x[i] = b; return x[a]; }", [],
         r"f\+0x\w+ takes 40,\d+ bytes of stack, and the guest has 65,536 for everything"),
        (ADD, ["-mfentry", "-pg"], "does not set up an EBP frame .*and -mfentry"),
        ('int f(int a, int b) { double d = a; __asm__("addsd %0, %0" : "+x"(d)); return (int)d; }', SSE,
         "constraint 'x'.*correct it"),
    ],
)  # fmt: skip
def test_what_the_guest_cannot_call_or_execute_is_refused_in_wrap_and_in_recompile(
    compiler: Compiler, tmp_path: Path, source: str, flags: list[str], words: str
) -> None:
    payload = bitcode(tmp_path, source, *flags)
    with pytest.raises(Refused, match=words) as caught:
        accepted(compiler, payload, 3)
    assert str(caught.value).isprintable()
    with pytest.raises(Refused, match=words):
        wrap.wrap(payload, "f", "f")


def test_a_frame_is_set_up_also_where_the_first_branch_leaves(compiler: Compiler, tmp_path: Path) -> None:
    source = "int g(void) __attribute__((weak)); int f(int a, int b) { return g ? g() : a + b; }"
    for level in range(4):
        assert accepted(compiler, bitcode(tmp_path, source), level).data


@pytest.mark.parametrize(("source", "flags"), [("int f(int a, int b) { return a * b + 1; }", ["-ftrapv"]),
    ("int f(int a, int b) { return a / b; }", ["-fsanitize=undefined", "-fsanitize-trap=all"])])  # fmt: skip
def test_checks_that_trap_are_the_users_own(compiler: Compiler, tmp_path: Path, source: str, flags: list[str]) -> None:
    """They end in `ud1` or `ud2`, which every CPU has, to stop there."""
    for level in range(4):
        assert accepted(compiler, bitcode(tmp_path, source, *flags), level).data


@pytest.mark.parametrize(
    ("symbol", "words"),
    [
        ("__cxa_throw", "-fno-exceptions"),
        ("_Unwind_Resume", "-fno-exceptions"),
        ("_ZTVN10__cxxabiv117__class_type_infoE", "-fno-rtti"),
        ("__cxa_guard_acquire", "-fno-threadsafe-statics"),
        ("__stack_chk_fail", "-fno-stack-protector"),
        ("printf", "define it in the module or export it from the kernel"),
        ("__cxa_pure_virtual", "define it in the module or export it from the kernel"),
    ],
)
def test_an_undefined_symbol_names_what_leaves_its_run_time_out(tmp_path: Path, symbol: str, words: str) -> None:
    data = compile_c(tmp_path, f"int {symbol}(int); int f(int a, int b) {{ return {symbol}(a) + b; }}", "-O2")
    with pytest.raises(LinkError, match=f"^undefined symbol {symbol}; .*{words}"):
        link(data, "f", Room(CODE, 1 << 16, RODATA, 1 << 16), {}, {})
    assert link(data, "f", Room(CODE, 1 << 16, RODATA, 1 << 16), {}, {symbol: CODE})


@pytest.mark.parametrize("verb", ["wrap", "module", "disk"])
def test_an_input_without_end_is_refused(verb: str, capfd: pytest.CaptureFixture[str]) -> None:
    words = {"wrap": ["--name", "x", "--entry", "f", "--input"], "module": ["--name", "x", "--entry", "f", "--object"]}
    assert cli.main(["build", verb, "--output", "/nowhere/x", *words.get(verb, []), "/dev/zero"]) == 2
    assert "which no kernel takes; make zero smaller, or give another" in capfd.readouterr().err


def test_another_object_format_in_the_triple_is_refused(compiler: Compiler, tmp_path: Path) -> None:
    text = 'target triple = "i386-unknown-unknown-macho"\ndefine i32 @f(i32 %a, i32 %b) #0 { ret i32 1 }\n'
    (tmp_path / "f.ll").write_text(text + 'attributes #0 = { "frame-pointer"="all" }\n')
    made = subprocess.run(["llvm-as-19", tmp_path / "f.ll", "-o", "-"], check=True, capture_output=True).stdout
    _, _, offset, size, _ = struct.unpack_from("<5I", made)
    made = made[offset : offset + size]  # out of Apple's wrapper
    with pytest.raises(BadBitcode, match=r"unknown \(MachO\), not a bare i686 with ELF"):
        accepted(compiler, made, 3)


def test_the_process_of_llvm_opens_no_file_whatever_the_assembly_says(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"of the host")
    unchecked = (
        "import os; from bareflow_gdb.recompile import assembly, worker; "
        "assembly.check = lambda text: None; worker.main(os.getppid(), 60)"
    )
    payload = bitcode(tmp_path, f'__asm__("x: .incbin \\"{secret}\\""); {ADD}')
    request = encode({"entry": "f", "level": 1}, payload)
    done = subprocess.run([sys.executable, "-c", unchecked], input=request, capture_output=True, check=False)
    assert b"Could not find incbin file" in done.stderr and secret.read_bytes() not in done.stdout


def test_privileged_instructions_are_the_users_own(compiler: Compiler, tmp_path: Path) -> None:
    source = (
        'int f(int a, int b) { __asm__ volatile("cli; inb $0x80, %%al; outb %%al, $0x80;'
        ' sti" ::: "eax"); return a + b; }'
    )
    for level in range(4):
        assert accepted(compiler, bitcode(tmp_path, source), level).data


@pytest.mark.parametrize(
    ("source", "flags", "words"),
    [
        (FLOATS, SSE, r"f\+0x\w+ has the instruction `movsd xmm2"),
        (ADD, ["-finstrument-functions"], r"undefined symbols __cyg_profile_func_enter, .*; __cyg_.*function tracing"),
        ("int g(int); int f(int a, int b) { return g(a) + b; }", [], "undefined symbol g; a module must define all"),
        (ADD, ["-fomit-frame-pointer"], "does not set up an EBP frame"),
        ("__attribute__((stdcall)) " + ADD, [], r"takes its arguments off the stack itself \(`ret 8`\)"),
    ],
)
def test_an_object_is_held_to_the_same_contract(tmp_path: Path, source: str, flags: list[str], words: str) -> None:
    with pytest.raises(LinkError, match=words):
        link_module(compile_c(tmp_path, source, "-O2", *flags), "f", "f")


def test_the_firmwares_own_modules_keep_to_it(compiler: Compiler, tmp_path: Path) -> None:
    for path in sorted(MODULES.glob("*.c")):
        payload = bitcode(tmp_path, path.read_text(), f"-I{MODULES}")
        assert compiler.compile(payload, f"{path.stem}_main", 3).notes == ()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "the module has no name"),
        ("a" * 32, "32 bytes, at most 31 bytes fit"),
        ("x y", "letters"),
        ("../../etc", "letters"),
        ("a\nb", "letters"),
        ("\x1b[31mR", "letters"),
        ("gr\u00fcn", "letters"),
        ("-rf", "letters"),
        ("9lives", "no digit first"),
    ],
)
def test_a_name_is_refused_by_every_maker_for_the_same_reason(tmp_path: Path, name: str, words: str) -> None:
    said = set()
    compiled = compile_c(tmp_path, ADD, "-O2")
    makers = (
        lambda: wrap.wrap(b"", name, "f"),
        lambda: link_module(compiled, name, "f"),
        lambda: parse_module(f"{name}:1:2:3"),
    )
    for maker in makers:
        with pytest.raises(UsageError, match=words) as caught:
            maker()
        said.add(str(caught.value))
    assert len(said) == 1 and said.pop().isprintable()
    assert read_module(link_module(compiled, "a" * 31, "f")).name == "a" * 31
    assert layouts.const("BF_NAME_BYTES") == 32


@pytest.mark.parametrize(
    ("code", "said", "kind", "advice"),
    [
        (-6, ["LLVM ERROR: out of memory", "Allocation failed"], CompilerDied, "lower the level or split"),
        (1, ["Traceback (most recent call last):", "MemoryError"], CompilerDied, "lower the level or split"),
        (-6, ["remark: x", "LLVM ERROR: Cannot select: t5: v4f32 = X86ISD::FMIN"], BadBitcode, "write it another way"),
        (1, ["error: <inline asm>:1:2: invalid instruction mnemonic"], BadBitcode, "correct it"),
        (-6, ["python: x.cpp:5: void f(): Assertion `x' failed."], CompilerDied, "a defect of LLVM"),
        (-11, [], CompilerDied, "a defect of LLVM"),
        (-9, [], CompilerDied, "ask again"),
    ],
)
def test_why_llvm_died_decides_the_advice(code: int, said: list[str], kind: type[Refused], advice: str) -> None:
    refusal = death("compile f at O3", code, said)
    assert type(refusal) is kind and advice in str(refusal) and "build the bitcode again" not in str(refusal)


def test_bitcode_of_a_newer_llvm_names_both_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    from bareflow_gdb.recompile import ir

    said = "Unknown attribute kind (105) (Producer: 'LLVM99.1.0' Reader: 'LLVM 22.1.0')"
    monkeypatch.setattr(ir.llvm, "parse_bitcode", lambda _: (_ for _ in ()).throw(RuntimeError(said)))
    with pytest.raises(BadBitcode, match=r"of LLVM 99\.1\.0, newer than the suite's LLVM \d+ .*; compile it with LLVM"):
        ir.parse(b"BC\xc0\xde")
