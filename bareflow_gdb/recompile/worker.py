"""The process in which LLVM runs: bitcode in, relocatable object out.

    python -m bareflow_gdb.recompile.worker PARENT CPU_SECONDS [SNAPSHOT]      (started by recompile.compiler)

LLVM aborts the whole process on some damaged input, so nothing else lives here. It ends with the process PARENT
that started it, and when one answer takes more than CPU_SECONDS of processor time. Frames come in on stdin, go
out on stdout; LLVM's own words (optimisation remarks) go to stderr, where the parent reads them. SNAPSHOT is the open
file with guest memory: with it, compiled code can be run here before the guest gets it.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, BinaryIO

import llvmlite.binding as llvm

from bareflow_gdb.errors import UsageError
from bareflow_gdb.recompile import contract, ir, pipeline, sandbox
from bareflow_gdb.recompile.pass_times import parse_report
from bareflow_gdb.recompile.pipe import BODY_BYTES, encode, read_frame
from bareflow_gdb.recompile.recipe import CPU
from bareflow_gdb.recompile.refusal import BadBitcode

PassTimes = tuple[tuple[str, float], ...]

MEMORY_LIMIT = 2 << 30
REFUSAL_CHARACTERS = 2000
PR_SET_PDEATHSIG = 1
"""linux/prctl.h; see prctl(2)."""
REMARKS = "inline|loop-unroll|loop-delete|licm|loop-vectorize"
"""Of the passes whose decisions are told: what they did, and what they did not, with the reason."""

# A loop over memory with a call, so that the passes and the code generator have all been used once.
_WARM_UP = """
target triple = "i686-unknown-none-elf"
@cells = global [64 x i32] zeroinitializer
define internal i32 @step(i32 %a) #0 {
  %r = mul i32 %a, 3
  ret i32 %r
}
define i32 @warm(i32 %a, i32 %b) #0 {
entry:
  br label %loop
loop:
  %i = phi i32 [ 0, %entry ], [ %next, %loop ]
  %sum = phi i32 [ %b, %entry ], [ %more, %loop ]
  %cell = getelementptr [64 x i32], ptr @cells, i32 0, i32 %i
  %old = load i32, ptr %cell
  %new = call i32 @step(i32 %old)
  store i32 %new, ptr %cell
  %more = add i32 %sum, %new
  %next = add i32 %i, 1
  %again = icmp slt i32 %next, 64
  br i1 %again, label %loop, label %done
done:
  %rest = urem i32 %more, %a
  ret i32 %rest
}
attributes #0 = { nounwind "frame-pointer"="all" }
"""


def compile_bitcode(
    payload: bytes, entry: str, level: int, cpu: str = CPU, passes: str = ""
) -> tuple[bytes, list[str], dict[str, float], PassTimes]:
    """The object for the guest at `level`, what was rewritten, milliseconds per phase and per pass; raises Refused,
    UsageError.

    `passes`: a pipeline in the place of the level's own.
    """
    started = time.perf_counter()
    wanted = pipeline.parse(passes) if passes else [level]
    module, notes = contract.accept(ir.parse(payload), entry, str(_machine(level, cpu).target_data), cpu)
    parsed = time.perf_counter()
    data, optimised, times = _compile(module, level, cpu, wanted)
    emitted = time.perf_counter()
    return (
        data,
        notes,
        {
            "parse": (parsed - started) * 1e3,
            "optimise": (optimised - parsed) * 1e3,
            "emit": (emitted - optimised) * 1e3,
        },
        times,
    )


def _machine(level: int, cpu: str) -> llvm.TargetMachine:
    name, features = contract.target(cpu)
    # `default` is what clang uses; llvmlite's own default, for JIT, makes calls through registers.
    return llvm.Target.from_triple(contract.TRIPLE).create_target_machine(
        cpu=name, features=features, opt=level, reloc="static", codemodel="default"
    )


def _compile(
    module: llvm.ModuleRef, level: int, cpu: str, wanted: Sequence[str | int]
) -> tuple[bytes, float, PassTimes]:
    """`wanted`: passes, or levels whose own pipelines are run."""
    machine = _machine(level, cpu)
    reports: list[str] = []
    for defaults, steps in itertools.groupby(wanted, lambda step: isinstance(step, int)):
        if not defaults:
            passes = llvm.create_new_module_pass_manager()
            for step in steps:
                getattr(passes, f"add_{pipeline.PASSES[str(step)]}_pass")()
            builder = _builder(machine, level)
            builder.start_pass_timing()
            passes.run(module, builder)
            reports.append(builder.finish_pass_timing())
            continue
        for step in steps:
            builder = _builder(machine, int(step))
            builder.start_pass_timing()
            builder.getModulePassManager().run(module, builder)
            reports.append(builder.finish_pass_timing())
    optimised = time.perf_counter()
    try:
        return machine.emit_object(module), optimised, parse_report("\n".join(reports))
    except (AssertionError, MemoryError) as error:
        # LLVM made it and could not hand it over: llvmlite finds neither an object nor words of LLVM's.
        raise BadBitcode("LLVM made an object of it that is larger than its memory; make it smaller") from error


def _builder(machine: llvm.TargetMachine, level: int) -> llvm.PassBuilder:
    return llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(speed_level=level))


def serve(requests: BinaryIO, answers: BinaryIO, cpu_seconds: int, snapshot: int | None) -> None:
    """Answers requests until the other side closes its end."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    llvm.initialize_native_asmparser()  # inline assembly; there is none for all targets
    for kind in ("", "-missed", "-analysis"):
        llvm.set_option("bareflow", f"-pass-remarks{kind}={REMARKS}")
    # Every tier begins with its frame, also where its first branch leaves the function.
    llvm.set_option("bareflow", "-enable-shrink-wrap=0")
    # The first compilation pays for LLVM's lazy initialisation; nobody waits for this one.
    _compile(llvm.parse_assembly(_WARM_UP), 3, CPU, [3])
    verify = _verifier(snapshot) if snapshot is not None else None
    # Assembly in the bitcode could name files of the host (.incbin): from here on none can be opened.
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
    sandbox.enter()
    answers.write(encode({"ready": True}))
    answers.flush()
    while (frame := read_frame(requests)) is not None:
        head, payload = frame
        _limit_cpu(cpu_seconds)
        if verify is not None and "trial" in head:
            answers.write(encode({"verdict": verify(head["trial"], payload)}))
            answers.flush()
            continue
        try:
            way = {word: str(head[word]) for word in ("cpu", "passes") if word in head}
            data, notes, milliseconds, times = compile_bitcode(payload, str(head["entry"]), int(head["level"]), **way)
            _check_size(data)
            answer = encode({"milliseconds": milliseconds, "notes": notes, "passes": times}, data)
        except (BadBitcode, UsageError) as error:
            answer = encode({"refused": str(error)[:REFUSAL_CHARACTERS]})
        answers.write(answer)
        answers.flush()


def _verifier(snapshot: int) -> Callable[[dict[str, Any], bytes], dict[str, Any]]:
    """Loads and warms the emulator, as long as files can be opened."""
    from bareflow_gdb.recompile.verify.trial import Trial, Verdict

    try:
        from bareflow_gdb.recompile.verify import verifier
        from bareflow_gdb.recompile.verify.emulator import Emulator
        from bareflow_gdb.recompile.verify.snapshot import mapped

        emulator = Emulator(mapped(snapshot))
        verifier.warm_up(emulator)
    except Exception as error:  # noqa: BLE001 - a broken library raises what it likes, and LLVM works without it
        why = f"unicorn cannot be used here ({type(error).__name__}: {error})"
        return lambda _trial, _new: Verdict(0, not_run=why).to_json()
    return lambda trial, new: verifier.verify(emulator, Trial.from_json(trial), new).to_json()


def _check_size(data: bytes) -> None:
    if len(data) > BODY_BYTES:
        raise BadBitcode(
            f"LLVM made an object of {len(data):,} bytes of it, the most is {BODY_BYTES:,}; make it smaller"
        )


def _limit_cpu(seconds: int) -> None:
    """From now on; the kernel counts from the process's start."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (int(used.ru_utime + used.ru_stime) + 1 + seconds, hard))


def _end_with(parent: int) -> None:
    """The kernel ends this process when its parent ends."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # The parent may have ended before that.
    if os.getppid() != parent:
        sys.exit(1)


def main(parent: int, cpu_seconds: int, snapshot: int | None = None) -> None:
    """Serves its parent over stdin and stdout, within limits."""
    _end_with(parent)
    _limit_cpu(cpu_seconds)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    # Anything that a library prints must not end up between the frames.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(sys.stdin.buffer, answers, cpu_seconds, snapshot)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
