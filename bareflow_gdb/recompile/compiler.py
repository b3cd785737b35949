"""How is bitcode compiled without risking the process that asks? The parent's side of the LLVM worker."""

from __future__ import annotations

import contextlib
import select
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from typing import IO, Any, BinaryIO, cast

from bareflow_gdb import libraries
from bareflow_gdb.recompile.pipe import encode, read_frame
from bareflow_gdb.recompile.refusal import BadBitcode, CompilerDied

TIMEOUT_SECONDS = 30.0
REMARK_BYTES = 64 << 10


@dataclass(frozen=True)
class Compilation:
    """What the worker made of one bitcode at one level."""

    data: bytes
    """ELF32 i386 relocatable object."""
    level: int
    remarks: tuple[str, ...]
    milliseconds: dict[str, float]
    """Parse, optimise, emit."""


class Compiler(contextlib.AbstractContextManager["Compiler"]):
    """A warm LLVM worker process; one that died is replaced at the next request."""

    def __init__(self, timeout: float = TIMEOUT_SECONDS) -> None:
        self.timeout = timeout
        self._process: subprocess.Popen[bytes] | None = None
        self._words: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()
        self._ready = False

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The worker's process id, None before the first start."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Begins to warm a worker up; does not wait for it."""
        if self._process is not None and self._process.poll() is None:
            return
        self._discard()
        self._ready = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bareflow_gdb.recompile.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            env=libraries.environment(),
            start_new_session=True,  # Ctrl-C is for the parent, which then closes the pipe
        )

    def wait_ready(self) -> None:
        """Starts a worker if there is none and waits until it is warm; raises CompilerDied."""
        self.start()
        if not self._ready:
            self._receive("start")
            self._ready = True

    def compile(self, payload: bytes, entry: str, level: int) -> Compilation:
        """Compiles at `level`; raises BadBitcode when LLVM refuses, CompilerDied when it did not survive."""
        request = encode({"entry": entry, "level": level}, payload)
        try:
            self._send(request)
        except BrokenPipeError:
            # It died while nobody asked anything of it; the request cannot be to blame.
            self._discard()
            with contextlib.suppress(BrokenPipeError):  # seen again below, as the end of its answers
                self._send(request)
        head, body = self._receive(f"compile {entry} at O{level}")
        if "refused" in head:
            raise BadBitcode(head["refused"])
        remarks = tuple(line for line in self._said() if line.startswith("remark:"))
        return Compilation(body, level, remarks, head["milliseconds"])

    def _send(self, request: bytes) -> None:
        self.wait_ready()
        assert self._process is not None and self._process.stdin is not None
        self._words.seek(0)
        self._words.truncate()
        self._process.stdin.write(request)
        self._process.stdin.flush()

    def close(self) -> None:
        """Ends the worker."""
        self._discard()
        self._words.close()

    def _receive(self, task: str) -> tuple[dict[str, Any], bytes]:
        process = self._process
        assert process is not None and process.stdout is not None
        readable, _, _ = select.select([process.stdout], [], [], self.timeout)
        if not readable:
            self._discard()
            raise CompilerDied(
                f"LLVM did not {task} within {self.timeout:g} s and was ended; ask again or lower the level"
            )
        frame = read_frame(cast(BinaryIO, process.stdout))
        if frame is None:
            code = process.wait()
            last = next((line for line in self._said() if "LLVM ERROR" in line), None) or (self._said() or [""])[-1]
            self._discard()
            ended = f"by signal {-code}" if code < 0 else f"with code {code}"
            raise CompilerDied(
                f"LLVM died {ended} when asked to {task} ({last or 'no words'}); build the bitcode again"
            )
        return frame

    def _said(self) -> list[str]:
        self._words.seek(0)
        text = self._words.read(REMARK_BYTES).decode("utf-8", "replace")
        return [line for line in text.splitlines() if line.strip()]

    def _discard(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            with contextlib.suppress(OSError), process:
                pass  # its pipes are closed and it is waited for
