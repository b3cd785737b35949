"""Loads the BareFlow commands into gdb: `gdb -x gdb_scripts/bareflow.py [kernel.elf]`, then `help bareflow`."""

import runpy
from pathlib import Path

LOADER = Path(__file__).resolve().parent.parent / "bareflow_gdb" / "gdb_ui" / "load.py"
runpy.run_path(str(LOADER), run_name="__main__")
