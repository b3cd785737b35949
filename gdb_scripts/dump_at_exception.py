"""Dumps everything when the guest takes an exception: answers as JSON, summary.txt, guest.core.

    gdb -batch -x gdb_scripts/bareflow.py -ex 'bf attach NAME' -x gdb_scripts/dump_at_exception.py

Arguments: $bf_out or BF_OUT, the directory (default exception-dump). Exit status: 0 when the run ended without an
exception, 1 when one was dumped, 2 when it could not look.

A stock kernel keeps no record of an exception: it is caught at the first instruction of its handler. When it has
halted before, what it wrote on the screen tells whether it took one.
"""

from contextlib import ExitStack, contextmanager
from pathlib import Path

import gdb

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.files import PRIVATE_FOLDER, replacing, write_atomically
from bareflow_gdb.foreign import printable
from bareflow_gdb.gdb_ui import headless, running, stock_exceptions
from bareflow_gdb.gdb_ui.expression import symbol
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.gdb_ui.show import say
from bareflow_gdb.gdb_ui.slots import exported
from bareflow_gdb.guest.base.find import ROOT_SYMBOL
from bareflow_gdb.guest.machine.exception import ExceptionRecord
from bareflow_gdb.guest.machine.screen import read_screen
from bareflow_gdb.guest.stock.kernel import looks_stock
from bareflow_gdb.questions import registry
from bareflow_gdb.render.jsonable import dumps

SUMMARY = ("status", "exception", "identify", "stack", "log")
STOCK_SUMMARY = ("status", "exception", "identify", "stack", "screen", "serial")
PRINTED = "[EXCEPTION]"
HOOK = "bareflow_hook_exception"


def main(session: Session) -> int:
    folder = Path(headless.argument("out", "exception-dump")).absolute()
    if not session.guest.found_by and (looks_stock(session.memory) or symbol(ROOT_SYMBOL) is None):
        return of_stock(session, folder)
    if not session.guest.kernel().exception().count:
        with ExitStack() as stack:
            stack.enter_context(hook(session))
            stack.enter_context(running.internal_breakpoint(exported(session, HOOK)))
            stack.enter_context(headless.end_of_run(session))
            running.resume()
        session.refresh()
    record = session.guest.kernel().exception()
    if not record.count:
        say(f"no exception; the guest is at stage {session.guest.kernel().boot().stage}")
        return headless.FINE
    dump(session, folder, record, SUMMARY)
    say(f"{record.name} at 0x{record.registers.eip:08x}; everything is in {folder}")
    return headless.NO


def of_stock(session: Session, folder: Path) -> int:
    """The same of a kernel without the debug interface."""
    record = stock_exceptions.catch(session)
    if record is not None:
        dump(session, folder, record, STOCK_SUMMARY)
        say(f"{record.name} at 0x{record.registers.eip:08x}; everything is in {folder}")
        return headless.NO
    if not any(PRINTED in row.text for row in read_screen(session.memory).rows):
        say("no exception; the guest has halted")
        return headless.FINE
    dump(session, folder, None, STOCK_SUMMARY)
    say(f"the guest has printed an exception and halted; what is left of it is in {folder}")
    return headless.NO


@contextmanager
def hook(session: Session):
    """The guest calls its exception hook; as it was afterwards."""
    address = session.guest.root().address + layouts.offset("bf_root", "hook_mask")
    before = session.memory.read(address, 4, "hook mask")
    mask = int.from_bytes(before, "little") | layouts.const("BF_HOOK_EXCEPTION")
    session.memory.write(address, mask.to_bytes(4, "little"), "hook mask")
    try:
        yield
    finally:
        if gdb.selected_inferior().pid:
            session.memory.write(address, before, "hook mask")


def dump(session: Session, folder: Path, record: ExceptionRecord | None, summary_of: tuple[str, ...]) -> None:
    folder.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
    texts, words = {}, {}
    if record is not None:
        at = record.registers
        # From where it was taken: the handler has no frame of its own yet.
        words["stack"] = [f"--eip=0x{at.eip:x}", f"--esp=0x{at.esp:x}", f"--ebp=0x{at.ebp:x}"]
        words["identify"] = [f"0x{at.eip:08x}"]
    for question in (*registry.plain(), *(["identify"] if record is not None else [])):
        try:
            if question == "exception" and record is not None:
                texts[question] = registry.load("exception").text(record)
                json = dumps(record)
            else:
                texts[question], json = headless.ask(session, question, *words.get(question, ()))
            write_atomically(folder / f"{question}.json", json + "\n")
        except BareflowError as error:
            # The others may still answer.
            texts[question] = f"{question}: {error}"
    summary = [texts[question] for question in summary_of if question in texts]
    summary += [
        text
        for question, text in texts.items()
        if question not in summary_of and not (folder / f"{question}.json").exists()
    ]
    write_atomically(folder / "summary.txt", "\n\n".join(summary) + "\n")
    core = folder / "guest.core"
    if session.machine is not None:
        session.machine.dump_core(core)
    else:
        with replacing(core) as partial:
            gdb.execute(f"monitor dump-guest-memory {printable(str(partial))}", to_string=True)


headless.run(main)
