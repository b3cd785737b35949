"""How does a gdb get the BareFlow commands? It sources this file: `source …/bareflow_gdb/gdb_ui/load.py`.

gdb's Python is often not the environment's Python, so this finds the suite that it belongs to, and what the suite
needs in the environment that it lives in. Sourcing it again loads the commands again.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def _folders() -> list[Path]:
    """Where packages may be: beside the suite, in an environment beside it, in the active environment."""
    root = PACKAGE.parent
    environments = (root / ".venv", Path(os.environ.get("VIRTUAL_ENV", root / ".venv")))
    found = [folder for each in environments for folder in sorted(each.glob("lib/python3.*/site-packages"))]
    return [root, *found]


def _load() -> None:
    # Appended, so that nothing which gdb's own Python has is hidden by an environment made for another one.
    for folder in _folders():
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    old = sys.modules.get(f"{PACKAGE.name}.gdb_ui.plugin")
    if old is not None:
        old.unload()
    for name in [name for name in sys.modules if name.split(".")[0] == PACKAGE.name]:
        del sys.modules[name]
    found = importlib.util.find_spec(PACKAGE.name)
    if found is None or Path(found.origin or "").resolve().parent != PACKAGE:
        # gdb's own environment has another copy of the suite; this one was asked for.
        sys.path.insert(0, str(PACKAGE.parent))
    importlib.import_module(f"{PACKAGE.name}.libraries").take_from([str(folder) for folder in _folders()])
    importlib.import_module(f"{PACKAGE.name}.gdb_ui.plugin").load()


if __name__ == "__main__":
    _load()
