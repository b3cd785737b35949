"""The process in which LLVM runs: bitcode in, relocatable object out.

    python -m bareflow_gdb.recompile.worker PARENT CPU_SECONDS        (started by recompile.compiler)

LLVM aborts the whole process on some damaged input, so nothing else lives here. It ends with the process PARENT
that started it, and when one answer takes more than CPU_SECONDS of processor time. Frames come in on stdin, go
out on stdout; LLVM's own words (optimisation remarks) go to stderr, where the parent reads them.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import time
from typing import BinaryIO

import llvmlite.binding as llvm

from bareflow_gdb.recompile import contract, ir
from bareflow_gdb.recompile.pipe import BODY_BYTES, encode, read_frame
from bareflow_gdb.recompile.refusal import BadBitcode

MEMORY_LIMIT = 2 << 30
WORDS_LIMIT = 16 << 20
"""Of the file that takes LLVM's remarks."""
REFUSAL_CHARACTERS = 2000
PR_SET_PDEATHSIG = 1
"""linux/prctl.h; see prctl(2)."""
REMARKS = "inline|loop-unroll|loop-delete|licm"

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


def compile_bitcode(payload: bytes, entry: str, level: int) -> tuple[bytes, list[str], dict[str, float]]:
    """The object for the guest at `level`, what was rewritten, and milliseconds per phase; raises BadBitcode."""
    started = time.perf_counter()
    module, notes = contract.accept(ir.parse(payload), entry, str(_machine(level).target_data))
    parsed = time.perf_counter()
    data, optimised = _compile(module, level)
    emitted = time.perf_counter()
    return (
        data,
        notes,
        {
            "parse": (parsed - started) * 1e3,
            "optimise": (optimised - parsed) * 1e3,
            "emit": (emitted - optimised) * 1e3,
        },
    )


def _machine(level: int) -> llvm.TargetMachine:
    # `default` is what clang uses; llvmlite's own default, for JIT, makes calls through registers.
    return llvm.Target.from_triple(contract.TRIPLE).create_target_machine(
        cpu=contract.CPU, features=contract.FEATURES, opt=level, reloc="static", codemodel="default"
    )


def _compile(module: llvm.ModuleRef, level: int) -> tuple[bytes, float]:
    machine = _machine(level)
    tuning = llvm.create_pipeline_tuning_options(speed_level=level)
    passes = llvm.create_pass_builder(machine, tuning)
    passes.getModulePassManager().run(module, passes)
    optimised = time.perf_counter()
    try:
        return machine.emit_object(module), optimised
    except (AssertionError, MemoryError) as error:
        # LLVM made it and could not hand it over: llvmlite finds neither an object nor words of LLVM's.
        raise BadBitcode("LLVM made an object of it that is larger than its memory; make it smaller") from error


def serve(requests: BinaryIO, answers: BinaryIO, cpu_seconds: int) -> None:
    """Answers compile requests until the other side closes its end."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    llvm.initialize_native_asmparser()  # inline assembly; there is none for all targets
    llvm.set_option("bareflow", f"-pass-remarks={REMARKS}")
    # Every tier begins with its frame, also where its first branch leaves the function.
    llvm.set_option("bareflow", "-enable-shrink-wrap=0")
    # The first compilation pays for LLVM's lazy initialisation; nobody waits for this one.
    _compile(llvm.parse_assembly(_WARM_UP), 3)
    # Assembly in the bitcode could name files of the host (.incbin): from here on none can be opened.
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
    answers.write(encode({"ready": True}))
    answers.flush()
    while (frame := read_frame(requests)) is not None:
        head, payload = frame
        _limit_cpu(cpu_seconds)
        try:
            data, notes, milliseconds = compile_bitcode(payload, str(head["entry"]), int(head["level"]))
            _check_size(data)
            answer = encode({"milliseconds": milliseconds, "notes": notes}, data)
        except BadBitcode as error:
            answer = encode({"refused": str(error)[:REFUSAL_CHARACTERS]})
        answers.write(answer)
        answers.flush()


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


def main(parent: int, cpu_seconds: int) -> None:
    """Serves its parent over stdin and stdout, within limits."""
    _end_with(parent)
    _limit_cpu(cpu_seconds)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    resource.setrlimit(resource.RLIMIT_FSIZE, (WORDS_LIMIT, WORDS_LIMIT))
    # Anything that a library prints must not end up between the frames.
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(sys.stdin.buffer, answers, cpu_seconds)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
