"""Runs inside gdb: how many events a second does a breakpoint with a Python stop() deliver?

Set before: SOCKET, the gdbstub's path, and SECONDS, how long to count.
"""

import time

import gdb

FUNCTION = "adaptive_jit_call"


class Tracer(gdb.Breakpoint):
    """Notes what a swap trace would: the place and the two registers of the publishing store."""

    def __init__(self, end: float) -> None:
        super().__init__(FUNCTION, internal=True)
        self.silent = True
        self.end = end
        self.events: list[tuple[int, int, int]] = []

    def stop(self) -> bool:
        frame = gdb.selected_frame()
        self.events.append((frame.pc(), int(frame.read_register("edx")), int(frame.read_register("eax"))))
        return time.perf_counter() >= self.end


gdb.execute(f"target remote {SOCKET}", to_string=True)  # noqa: F821 - set on the command line
start = time.perf_counter()
tracer = Tracer(start + SECONDS)  # noqa: F821 - set on the command line
gdb.execute("continue")
print(f"rate {len(tracer.events) / (time.perf_counter() - start):.1f}")
tracer.delete()
