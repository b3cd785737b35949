"""Tells what a core knows.

    gdb -batch -x gdb_scripts/bareflow.py -ex 'core-file guest.core' -x gdb_scripts/post_mortem.py

Arguments: $bf_last or BF_LAST, bytes of the log (default 2000). Exit status: 0 when nothing was wrong with the
guest, 1 when something was, 2 when it could not look.
"""

from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.gdb_ui import headless
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.gdb_ui.show import say
from bareflow_gdb.questions import registry


def main(session: Session) -> int:
    if session.connection is None or session.connection.type != "core":
        raise UsageError("gdb has no core; `core-file FILE` first (`bareflow core --out FILE` writes one)")
    status = session.guest.kernel().status()
    for question in registry.plain():
        words = ("--last", headless.argument("last", "2000")) if question in ("log", "serial") else ()
        try:
            text, _ = headless.ask(session, question, *words)
        except BareflowError as error:
            # What one table cannot tell, another may.
            text = f"{question}: {error}"
        say(text, end="\n\n")
    return headless.FINE if status.ok else headless.NO


headless.run(main)
