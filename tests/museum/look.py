"""How is an exhibit looked at? By the diagnosis alone, which knows neither its name nor its place."""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from guest_copy import GuestCopy
from program import bareflow

from bareflow_gdb.checks.causes import ranked
from museum.exhibit import Exhibit
from museum.images import Hall
from museum.memory import Scene


@dataclass(frozen=True)
class Seen:
    """What was said of an exhibit."""

    causes: tuple[str, ...]
    """Each with its evidence, the first one first."""
    titles: tuple[str, ...]
    seconds: float

    def names(self, exhibit: Exhibit[Any]) -> str:
        """The cause that is the defect by name; "" = none is."""
        told = zip(self.causes, self.titles, strict=True)
        return next((title for cause, title in told if re.search(exhibit.says, cause)), "")


def in_memory(exhibit: Exhibit[Scene], copy: GuestCopy, place: int) -> Seen:
    """The defect is written into the copy, which is as before afterwards."""
    with copy.undone():
        exhibit.make(Scene(copy), place)
        copy.invalidate()
        began = time.monotonic()
        causes = [cause.finding for cause in ranked(copy.findings().findings)]
        seconds = time.monotonic() - began
    return Seen(tuple(map(str, causes)), tuple(one.what for one in causes), seconds)


def started(exhibit: Exhibit[Hall], firmware: Path, folder: Path, place: int, timeout: float = 60) -> Seen:
    """The image is started by `bareflow diagnose`, in a folder where nothing else lies."""
    hall = Hall(firmware, firmware / "museum", folder)
    exhibit.make(hall, place)
    words = ["diagnose", str(hall.image), "--json", "--timeout", str(timeout)]
    began = time.monotonic()
    done = bareflow(*words, *(("--disk", str(hall.disk)) if hall.disk is not None else ()), cwd=folder)
    seconds = time.monotonic() - began
    assert done.returncode in (0, 1) and done.stdout, done.stderr
    record = json.loads(done.stdout)
    findings = [cause["finding"] for cause in record["causes"]]
    told = [f"{one['what']} ({one['where']}): {one['evidence']}" for one in findings]
    return Seen(tuple(told), tuple(one["what"] for one in findings), seconds)
