"""`bf recompile`: the host's LLVM compiles a function's bitcode again, and the guest swaps it in."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gdb

from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.gdb_ui import running
from bareflow_gdb.gdb_ui.command import command
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.gdb_ui.slots import publish_store, slot_of
from bareflow_gdb.guest.base.values import TIERS, tier_of_level
from bareflow_gdb.questions.question import FUNCTIONS, argument

if TYPE_CHECKING:
    from bareflow_gdb.gdb_ui.compiler import Request
    from bareflow_gdb.guest.code.outcome import Outcome
    from bareflow_gdb.qemu.machine import Machine

# When the guest is stopped still after the new code was installed, the host program waits this long for a result.
GRACE_SECONDS = 5.0


@command(
    "recompile",
    needs=Session.require_machine,
    example="bf recompile primes --tier O3 --stop",
    arguments=(
        argument("function", metavar="FUNCTION", names=FUNCTIONS, help="the function to compile"),
        argument("--tier", choices=TIERS, default="O3", help="how far it is optimised (default O3)"),
        # As it was called before.
        argument("--level", dest="tier", type=tier_of_level, help=argparse.SUPPRESS),
        argument(
            "--from",
            dest="source",
            metavar="FILE",
            help="compile this C file, or bitcode, instead of the function's own bitcode: fix it and go on",
        ),
        argument("--entry", default="", metavar="NAME", help="the function that FILE starts with"),
        argument("--passes", default="", metavar="PIPELINE", help="LLVM's passes, as sroa,instcombine,default<O2>"),
        argument("--cpu", metavar="CPU", help="lay the code out for this one, for instance pentium3 (default i686)"),
        argument("--keep", metavar="FOLDER", help="keep bitcode, object, remarks and the times of passes there"),
        argument(
            "--profile",
            action="store_true",
            help="count first how often each of its blocks runs in this guest, and use that",
        ),
        argument(
            "--specialise",
            action="store_true",
            help="count first with which arguments this guest calls it; a version for those stays if it is faster",
        ),
        argument("--calls", type=int, metavar="N", help="count so many calls (--profile: 1, --specialise: 64)"),
        argument(
            "--seconds",
            type=float,
            metavar="S",
            help="with --profile or --specialise: count, or measure, no longer (10)",
        ),
        argument(
            "--no-verify",
            dest="verify",
            action="store_false",
            help="hand new code over without having run it on the host beside the published code",
        ),
        argument("--stop", action="store_true", help="stop in the new code, at its first execution"),
    ),
    show=lambda outcome: _text(outcome),
    verdict=lambda outcome: outcome.right,
)
def recompile(options: argparse.Namespace, session: Session) -> Outcome:
    """Compile a function again with the host's LLVM and let the guest swap it in.

    The bitcode is read out of guest memory, and the guest installs the code at a safe point; so a stopped
    guest runs until that is done, and is stopped again. Debug information of the new code is attached to its
    address, that of replaced versions removed.
    """
    from bareflow_gdb.guest.stock.kernel import StockKernel

    machine = session.require_machine("bf recompile")
    kernel = session.guest.kernel()
    if isinstance(kernel, StockKernel):
        return _into_stock(session, machine, options)
    kernel.need_interface("it takes no code from outside; `bf disas` shows what its own JIT has made, by tier")
    slot = slot_of(session, options.function)
    if options.stop and (options.profile or options.specialise):
        raise UsageError("with --profile or --specialise the guest runs a version that counts first: leave --stop out")
    if options.stop and session.running:
        raise UsageError("the guest runs, and --stop begins at a stop: `interrupt` first, or leave it out")
    compiler = session.compiler(machine)
    with compiler.request(_question(options)) as request:
        session.say(f"compiling {options.function} at {options.tier} on the host, the guest runs meanwhile …")
        if session.running:
            request.wait(None)
        elif options.stop:
            _run_to_new_code(session, request, options, slot)
        else:
            _run_until_done(request)
        outcome = request.answer()
    session.refresh()
    attached = session.update_symbols()
    if options.stop and not session.running:
        # Unprinted, but `list` and `tbreak LINE` now mean the new code's file.
        gdb.execute("frame 0", to_string=True)
    if not attached:
        session.say("the guest runs: its debug information is attached by the first bf command after a stop")
    return outcome


def _into_stock(session: Session, machine: Machine, options: argparse.Namespace) -> Outcome:
    """A kernel without a mailbox: it stays stopped, and the host program writes into its memory."""
    if session.running:
        raise UsageError("this kernel has no mailbox, so its CPU has to stand still for that: `interrupt` first")
    if options.stop:
        name = options.function
        raise UsageError(f"--stop is for kernels with a mailbox; leave it out, and `bf break jit:{name}` stops there")
    with session.compiler(machine).request(_question(options)) as request:
        session.say(f"compiling {options.function} at {options.tier} on the host, the guest stays stopped …")
        request.wait(None)
        outcome = request.answer()
    session.refresh()
    session.update_symbols()
    return outcome


def _question(options: argparse.Namespace) -> dict[str, Any]:
    """For `bareflow compiler`, whose folder may be another one."""
    question = {"function": options.function, "level": TIERS.index(options.tier), "called": not options.stop}
    question |= {"profile": options.profile, "specialise": options.specialise}
    question |= {"calls": options.calls, "seconds": options.seconds}
    question |= {"verify": options.verify, "entry": options.entry, "passes": options.passes}
    if options.source is not None:
        question["from"] = str(Path(options.source).expanduser().absolute())
    if options.keep is not None:
        question["keep"] = str(Path(options.keep).expanduser().absolute())
    if options.cpu is not None:
        question["cpu"] = options.cpu
    return question


def _run_until_done(request: Request) -> None:
    """Lets the guest run until the child has answered."""
    request.interrupt_when_done = True
    try:
        if request.done:
            return
        stop = running.resume()
    finally:
        request.interrupt_when_done = False
    if not request.done and (stop.interrupted or not request.wait(GRACE_SECONDS)):
        raise BareflowError(f"{stop} stopped the guest before the recompilation was done; it was given up")


def _run_to_new_code(session: Session, request: Request, options: argparse.Namespace, slot: int) -> None:
    """Lets the guest run until the new code is about to be executed for the first time."""
    store = publish_store(session)
    # A refusal has to end the waiting; once the code is published, only its first call does.
    request.interrupt_when_done = True
    try:
        with running.internal_breakpoint(store, f"$edx == {slot:#x}") as published:
            if request.done:
                return
            stop = running.resume()
            while published in stop.breakpoints and not _is_asked_for(session, options):
                # In its own run the guest swaps the function too.
                stop = running.resume()
    finally:
        request.interrupt_when_done = False
    if published in stop.breakpoints:
        with running.internal_breakpoint(running.read_register("eax")) as entered:
            stop = running.resume()
        if entered in stop.breakpoints:
            running.enter_frame(session.memory)
        else:
            session.say(f"{stop} stopped the guest before it called the new code")
    if not request.wait(GRACE_SECONDS):
        raise BareflowError(f"{stop} stopped the guest before the recompilation was done; it was given up")


def _is_asked_for(session: Session, options: argparse.Namespace) -> bool:
    """At the publishing store: is the code that EAX points to what the host was asked for, in its room?"""
    session.refresh()
    slots = session.guest.kernel().mailbox().slots
    room = next(item for item in slots if item.function == options.function)
    if room.ask or room.level_wanted != TIERS.index(options.tier):
        return False
    return room.code_address <= running.read_register("eax") < room.code_address + room.code_capacity


def _text(record: Outcome) -> str:
    from bareflow_gdb.render.outcome import outcome

    return outcome(record)
