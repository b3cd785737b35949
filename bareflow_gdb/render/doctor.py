"""How does a diagnosis look as text?"""

from __future__ import annotations

from bareflow_gdb.guest.doctor import Diagnosis
from bareflow_gdb.render.text import WIDTH, show
from bareflow_gdb.render.view import Cell, View, table

_STYLES = {"works": "good", "limited": "dim", "fails": "bad"}


def doctor(record: Diagnosis, width: int = WIDTH, color: bool = False) -> str:
    """One line for each part, what to do below the table."""
    rows = [(check.part, Cell(check.state, _STYLES.get(check.state, "")), check.found) for check in record.checks]
    advice = tuple(f"{check.part}: {check.advice}" for check in record.checks if check.advice)
    failed = [check for check in record.checks if check.state == "fails"]
    verdict = f"{len(failed)} of {len(rows)} parts fail" if failed else "nothing fails"
    return show(View(f"Doctor: {verdict}", (), (table("part|state|found", rows),), (), advice), width, color)
