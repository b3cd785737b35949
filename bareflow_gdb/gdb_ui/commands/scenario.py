"""`bf scenario`: chooses what the guest's run does, before it begins, or ends one that does not end by itself."""

from __future__ import annotations

import argparse

from bareflow_gdb.gdb_ui.command import command
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.guest.scenario import NAMES, STOP, Scenario
from bareflow_gdb.questions.question import argument


@command(
    "scenario",
    needs=Session.require_live,
    example="bf scenario ring-flood",
    arguments=(
        argument("scenario", choices=(*NAMES, STOP), metavar="|".join((*NAMES, STOP)), help="the scenario, or stop"),
    ),
    show=lambda record: f"scenario {record.scenario}, stage {record.stage}: {record.message}",
    verdict=lambda record: record.done,
)
def scenario(options: argparse.Namespace, session: Session) -> Scenario:
    """Choose what the guest's run does, before it begins, or stop a scenario that runs.

    The guest reads the word once, when its run begins: hold it (`bareflow run --hold`), choose, and `bf release`. Only
    ring-flood has to be stopped; a guest that is stopped ends it when it goes on.
    """
    from bareflow_gdb.guest import scenario as scenarios

    root = session.guest.kernel().need_interface("it has no scenarios")
    if options.scenario == STOP:
        return scenarios.stop(session.memory, root, lambda: session.running)
    return scenarios.choose(session.memory, root, options.scenario)
