"""An empty environment with the wheel in it, made without a package index.

pip installs the wheel and finds its dependencies there already: what the wheel declares, and what that declares in
turn, is linked from the environment of the tests. What is not declared is missing, as it would be for a user.
"""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

EXTRA = "gdb"
SECONDS = 300


def make(folder: Path, wheel: Path) -> Path:
    """The environment `folder`, with the wheel and its extra of gdb 18 installed."""
    python = folder / "bin" / "python"
    _run(sys.executable, "-m", "venv", "--without-pip", str(folder))
    site = next(folder.glob("lib/python3.*/site-packages"))
    information = next(part for part in zipfile.Path(wheel).iterdir() if part.name.endswith(".dist-info"))
    for name in _closure(metadata.PathDistribution(information).requires or (), set()):
        distribution = metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(distribution.locate_file(top))))
    program = folder / "bin" / "gdb"
    program.write_text(Path(sys.executable).with_name("gdb").read_text())
    program.write_text(f"#!{python}\n" + program.read_text().partition("\n")[2])
    program.chmod(0o755)
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python))
    _run(*pip, "install", "--quiet", "--no-index", f"{wheel}[{EXTRA}]")
    return folder


def _closure(requirements: Iterable[str], found: set[str]) -> set[str]:
    for requirement in map(Requirement, requirements):
        wanted = requirement.marker is None or requirement.marker.evaluate({"extra": EXTRA})
        if wanted and requirement.name not in found:
            found.add(requirement.name)
            _closure(metadata.requires(requirement.name) or (), found)
    return found


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
