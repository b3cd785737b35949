"""Which gdb is started: the one that is named, that of the environment, or the system's?"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from bareflow_gdb.errors import BareflowError

OLDEST = 13
SECONDS = 60.0
NEXT = "`pip install gdb-for-pwndbg` gets gdb 18, `--gdb PATH` names another"


def find_gdb(named: str | None) -> str:
    """The path of a gdb that can load the suite; raises BareflowError."""
    # The package gdb-for-pwndbg puts its gdb beside the environment's Python.
    own = shutil.which(str(Path(sys.prefix) / "bin" / "gdb"))
    path = shutil.which(named) if named else own or shutil.which("gdb")
    if path is None:
        raise BareflowError(f"{f'{named} is not a program' if named else 'no gdb is installed'}; {NEXT}")
    probe = [path, "-nx", "-batch", "-ex", "python print(gdb.VERSION)"]
    try:
        done = subprocess.run(
            probe, stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace", timeout=SECONDS
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise BareflowError(f"{path} does not start ({error}); {NEXT}") from error
    # "18.1", or a distribution's "Fedora Linux 14.2-3".
    found = re.search(r"(\d+)\.\d\S*$", done.stdout.strip())
    if found is None:
        why = (done.stderr.strip().splitlines() or ["it prints no version"])[-1]
        raise BareflowError(f"{path} is not a gdb with Python ({why}); {NEXT}")
    if int(found[1]) < OLDEST:
        raise BareflowError(f"{path} is gdb {found[0]}, the suite needs {OLDEST} or newer; {NEXT}")
    return path
