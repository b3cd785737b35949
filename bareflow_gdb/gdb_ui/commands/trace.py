"""`bf trace`: record the guest's events while gdb goes on working."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from bareflow_gdb.errors import UsageError
from bareflow_gdb.gdb_ui.command import command
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.questions.question import argument
from bareflow_gdb.render.suggest import shell

if TYPE_CHECKING:
    from bareflow_gdb.gdb_ui.recording import Progress


@command(
    "trace",
    needs=Session.require_machine,
    example="bf trace start /tmp/run1",
    arguments=(
        argument("action", choices=("start", "status", "stop"), help="start, status or stop"),
        argument("directory", nargs="?", metavar="DIR", help="where the trace goes (start only)"),
    ),
    show=lambda record: _text(record),
)
def trace(options: argparse.Namespace, session: Session) -> Any:
    """Record the guest's events into a trace directory, while it runs and while it is stopped.

    A child reads the event rings out of QEMU's RAM, so recording stops nothing and sends no packet; of a stock kernel,
    which has none, it polls the tables, and says which swaps it missed. `bf trace
    stop` completes the trace and shows its summary; so does the end of the connection or of gdb, silently.
    """
    from bareflow_gdb.gdb_ui.recording import Recording, new_directory
    from bareflow_gdb.guest.stock.kernel import StockKernel

    if options.directory is not None and options.action != "start":
        raise UsageError(f"`bf trace {options.action}` takes no directory")
    if options.action == "start":
        if session.recording is not None and session.recording.process.poll() is None:
            raise UsageError(f"recording into {session.recording.directory} already; `bf trace stop` ends it")
        name = session.require_machine("bf trace").name
        kernel = session.guest.kernel()
        is_stock = isinstance(kernel, StockKernel)
        if not is_stock:
            # The recorder would wait for a kernel to appear.
            kernel.need_interface("it has no events to record")
        # Watchpoints need the gdbstub, which gdb has.
        source = "tables" if is_stock else ""
        session.recording = Recording.start(name, new_directory(options.directory, name), source)
        return session.recording.progress()
    recording = session.recording
    if recording is None:
        raise UsageError("nothing is being recorded; `bf trace start` begins")
    if options.action == "status":
        return recording.progress()
    session.recording = None
    return {"directory": str(recording.directory), **recording.end()}


def _text(record: Progress | dict[str, Any]) -> str:
    if not isinstance(record, dict):
        return f"{record.state}: machine {record.machine} into {record.directory}\n  {record.progress}"
    lines = [f"trace {record['directory']}"]
    named = ("events", "lost", *(("missed",) if record.get("missed") else ()), "swaps", "span")
    lines += [f"  {name:<10} {record[name]}" for name in named if name in record]
    lines.append(f"  ask it     {shell('bareflow', 'swaps', record['directory'])}")
    return "\n".join(lines)
