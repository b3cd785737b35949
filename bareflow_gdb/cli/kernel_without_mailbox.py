"""How does a program change a stock kernel, without a mailbox? Its CPU is stopped for a moment, memory written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from bareflow_gdb.errors import BadData, BareflowError

if TYPE_CHECKING:
    from bareflow_gdb.cli.target import Target
    from bareflow_gdb.guest.guest import Guest
    from bareflow_gdb.guest.stock.kernel import StockKernel
    from bareflow_gdb.memory.protocol import Memory
    from bareflow_gdb.recompile.compilers import Compilers
    from bareflow_gdb.recompile.installing import Installer


def is_stock(target: Target) -> bool:
    """Is it a running guest whose kernel has no debug interface?"""
    from bareflow_gdb.guest.stock.kernel import looks_stock

    return target.kind in ("machine", "gdbstub") and looks_stock(target.memory)


def stock_guest(target: Target) -> tuple[Guest, StockKernel]:
    """The guest, and its kernel as it is now; raises BadData when another one was booted meanwhile."""
    from bareflow_gdb.cli.ask import TargetContext
    from bareflow_gdb.guest.stock.kernel import StockKernel

    guest = TargetContext(target).guest
    kernel = guest.kernel()
    if not isinstance(kernel, StockKernel):
        raise BadData(f"{target.description} has booted another kernel meanwhile; ask again")
    return guest, kernel


@contextmanager
def stopped(target: Target) -> Iterator[Memory]:
    """The CPU stands still meanwhile, and runs on only if it ran before."""
    from bareflow_gdb.memory.listeners import is_taken
    from bareflow_gdb.memory.process_ram import ProcessRam

    machine, memory = target.machine, target.memory
    if machine is not None:
        ran = machine.status() == "running"
        if ran and is_taken(str(machine.gdb_socket)):
            # It would be told of the stop, and not that the machine runs on.
            raise BareflowError(
                f"a debugger is connected to machine {machine.name} and lets it run: stop it there, or detach"
            )
        if ran:
            machine.pause()
        try:
            yield memory
        finally:
            if ran:
                machine.resume()
    elif isinstance(memory, ProcessRam):
        with memory.standing() as stub:
            yield stub
    else:
        # A gdbstub's guest stands still as long as its connection lasts.
        yield memory


@contextmanager
def installer(target: Target, compilers: Compilers | None, *, verify: bool) -> Iterator[Installer]:
    """`compilers` that are given stay the caller's."""
    from bareflow_gdb.recompile.cache import ObjectCache, usual_folder
    from bareflow_gdb.recompile.compilers import Compilers
    from bareflow_gdb.recompile.installing import Installer

    made = Compilers(verifies=verify) if compilers is None else compilers
    try:
        guest, _ = stock_guest(target)
        yield Installer(guest, partial(stopped, target), made, ObjectCache(usual_folder()), verify=verify)
    finally:
        if compilers is None:
            made.close()
