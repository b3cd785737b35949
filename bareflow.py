"""`gdb -x bareflow.py` from the repository's root: the same as `gdb -x gdb_scripts/bareflow.py`."""

import runpy
from pathlib import Path

runpy.run_path(str(Path(__file__).resolve().parent / "bareflow_gdb/gdb_ui/load.py"), run_name="__main__")
