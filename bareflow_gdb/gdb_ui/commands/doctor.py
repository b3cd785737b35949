"""`bf doctor`: what works here, what does not, why, and what to do."""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gdb

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.gdb_ui import child
from bareflow_gdb.gdb_ui.command import command
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.gdb_ui.show import colored, width
from bareflow_gdb.questions.question import argument

if TYPE_CHECKING:
    from bareflow_gdb.guest.doctor import Check, Diagnosis

CHILD_SECONDS = 120.0
OLDEST_GDB = 13

# A type of the kernel's debug information.
KERNEL_TYPE = "module_profile_t"


@command(
    "doctor",
    example="bf doctor --host",
    arguments=(argument("--host", action="store_true", help="let the host program try each tool too, some seconds"),),
    show=lambda record: _text(record),
    verdict=lambda record: record.healthy,
)
def doctor(options: argparse.Namespace, session: Session) -> Diagnosis:
    """Say which parts work here, which do not, why, and what to do.

    Each part does a small job: gdb and its Python, the libraries, the host program, the guest, and with --host what
    that program needs: LLVM, QEMU, the tools. A part is limited when something is not there that need not be. Works
    without a guest.
    """
    # Not imported when the suite is loaded: what it imports may be what is missing.
    from bareflow_gdb.guest.doctor import diagnosis
    from bareflow_gdb.guest.doctor_libraries import check_libraries

    checks = [_gdb(), *check_libraries(inside_gdb=True), *_host_program(tools=options.host)]
    checks += _guest(session)
    return diagnosis(checks)


def _text(record: Diagnosis) -> str:
    from bareflow_gdb.render.doctor import doctor as render

    return render(record, width=width(), color=colored())


def _check(part: str, state: str, found: str, advice: str = "") -> Check:
    from bareflow_gdb.guest.doctor import Check

    return Check(part, state, found, advice)


def _gdb() -> Check:
    number = gdb.VERSION.rsplit(" ", 1)[-1]
    found = f"gdb {number} with Python {platform.python_version()}"
    major = number.split(".")[0]
    if major.isdigit() and int(major) < OLDEST_GDB:
        return _check("this gdb", "fails", f"{found} is too old", f"use gdb {OLDEST_GDB} or newer")
    return _check("this gdb", "works", found)


def _host_program(tools: bool) -> list[Check]:
    """The program `bareflow`, which runs LLVM, recorders and reports: does it start; and what it says of this host."""
    part = "host program"
    err = ""
    try:
        process = child.start(*(("doctor", "--host") if tools else ("list",)), "--json")
        out, err = process.communicate(timeout=CHILD_SECONDS)
        answer = json.loads(out)
        checks = [_check(**item) for item in answer["checks"]] if tools else []
    except BareflowError as error:
        return [_check(part, "fails", str(error), "recompile and trace need it")]
    except subprocess.TimeoutExpired:
        process.kill()
        return [_check(part, "fails", f"{child.program()} does not answer", "run `bareflow doctor` beside gdb")]
    except (ValueError, KeyError, TypeError):
        return [_check(part, "fails", f"{child.program()}: {child.last_words(err)}", "`make setup`")]
    return [_check(part, "works", child.program()), *checks]


def _guest(session: Session) -> list[Check]:
    from bareflow_gdb.checks.registry import findings
    from bareflow_gdb.gdb_ui.ask import SessionContext
    from bareflow_gdb.guest.doctor import attempt, check_guest

    part = "guest"
    if session.connection is None:
        return [_check(part, "limited", "gdb is not connected to one", "`bf attach` or `target remote`")]
    try:
        session.require()
    except BareflowError as error:
        return [_check(part, "fails", str(error))]
    state = "running" if session.running else "stopped"
    machine = session.machine
    name = f"machine {machine.name}" if machine else str(getattr(session.connection, "details", "") or "core")
    checks = [_check(part, "works", f"{session.connection.type} {name}, {state}")]
    checks.append(attempt("reader", lambda: _reader(session)))
    try:
        guest = session.guest
    except BareflowError as error:
        return [*checks, _check("tables", "fails", str(error))]
    checks += check_guest(guest)
    checks.append(findings(SessionContext(session).subject()))
    checks.append(attempt("ELF", lambda: _elf(session)))
    checks.append(attempt("JIT symbols", lambda: _jit_symbols(session)))
    return checks


def _reader(session: Session) -> Check:
    from bareflow_gdb.memory.inferior import InferiorMemory

    part = "reader"
    if not isinstance(session.memory, InferiorMemory):
        verified = "not compared while the guest runs" if session.running else "its bytes are what gdb sees"
        return _check(part, "works", f"QEMU's RAM from the host, no packets; {verified}")
    if session.machine is not None:
        return _check(
            part,
            "fails",
            f"the RAM file of machine {session.machine.name} cannot be read, or is not this guest's",
            "everything is read through gdb, a packet for 2 KB; `bareflow stop` the machine and start it again",
        )
    if session.connection is not None and session.connection.type == "core":
        return _check(part, "works", "the core, through gdb")
    return _check(
        part,
        "limited",
        "through gdb, a packet for 2 KB, and only while the guest is stopped",
        "machines of `bareflow run` are read from the host",
    )


def _elf(session: Session) -> Check:
    """Does gdb have this kernel's ELF, and with debug information?"""
    from bareflow_gdb.guest.names.elf import check_elf, load_elf

    part = "ELF"
    name = gdb.current_progspace().filename
    if not name:
        return _check(part, "limited", "gdb has none: no source lines of the kernel", "`file kernel.elf`")
    guest = session.guest
    build_id = guest.root().build_id if guest.found_by else ""
    code = check_elf(guest.memory, load_elf(Path(name)), build_id)
    if code.absent:
        return _check(part, "limited", code.verdict, "ask again when the kernel runs")
    if not code.same:
        return _check(part, "fails", code.verdict, "load the right one with `file`")
    how = "the same build id" if build_id else "the same code"
    try:
        gdb.lookup_type(KERNEL_TYPE)
    except gdb.error:
        return _check(part, "limited", f"{name}, {how}; without debug information", "build it with -g for lines")
    return _check(part, "works", f"{name}, {how}, with debug information")


def _jit_symbols(session: Session) -> Check:
    part = "JIT symbols"
    attached: Any = session.attached_symbols()
    if attached:
        return _check(part, "works", f"gdb knows {len(attached)} published versions")
    return _check(part, "limited", "gdb knows no JIT code by name", "`bf jitsym` attaches names and lines")
