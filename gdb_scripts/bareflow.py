"""Loads the BareFlow commands into gdb: `gdb -x gdb_scripts/bareflow.py [kernel.elf]`, then `help bareflow`.

gdb's Python is often not the environment's Python, so this finds the suite beside itself, and what the
suite needs in the environment that it lives in. Sourcing it again loads the commands anew.
"""

import os
import sys
from pathlib import Path


def _site_packages(root: Path) -> list[Path]:
    """Where the suite's packages may be: its own environment first, then the active one."""
    found = [parent for parent in (root, *root.parents) if parent.name in ("site-packages", "dist-packages")]
    for environment in (root / ".venv", Path(os.environ.get("VIRTUAL_ENV", root / ".venv"))):
        found += sorted(environment.glob("lib/python3.*/site-packages"))
    return found


def _load() -> None:
    root = Path(__file__).resolve().parent.parent
    # Appended, so that nothing which gdb's own Python has is hidden by an environment made for another one.
    for folder in (root, *_site_packages(root)):
        if str(folder) not in sys.path:
            sys.path.append(str(folder))
    old = sys.modules.get("bareflow_gdb.gdb_ui.plugin")
    if old is not None:
        old.unload()
    for name in [name for name in sys.modules if name.split(".")[0] == "bareflow_gdb"]:
        del sys.modules[name]
    from bareflow_gdb.gdb_ui import plugin

    plugin.load()


_load()
