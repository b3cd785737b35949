"""Which copies of the libraries does the suite use? Its own environment's; and which one is to blame for an error?

PYTHONPATH comes before them in Python's order, and often names another tool's: conda, pwntools, an old checkout.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

from bareflow_gdb.errors import BareflowError

SHARED = ("capstone", "dissect", "elftools", "markdown_it", "mdurl", "pygments", "qemu", "rich")
"""Top-level packages that the suite imports into gdb's Python, which other scripts share."""

OLDEST = {"capstone": "5.0.9", "dissect.cstruct": "4.7"}
"""Versions that older ones cannot stand in for; as in pyproject.toml."""

ADVICE = "`make setup` installs the suite's own"


class OwnFirst:
    """An importer that looks for some packages in the suite's folders before Python looks where it always does."""

    def __init__(self, names: Sequence[str], folders: Sequence[str]) -> None:
        self.names = names
        self.folders = folders

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Python's protocol of importers; None leaves it to the others."""
        *above, _ = name.split(".")
        if name.split(".")[0] not in self.names:
            return None
        if path is not None and getattr(sys.modules.get(".".join(above)), "__file__", None):
            # A part of a package that is loaded: wherever that came from, its parts come from there.
            return None
        return PathFinder.find_spec(name, [os.path.join(folder, *above) for folder in self.folders], target)  # noqa: PTH118


def take_from(folders: Sequence[str]) -> None:
    """Makes this Python take the libraries of SHARED from `folders`, and nothing else."""
    # By name: the class is another one each time that the suite is loaded.
    sys.meta_path[:] = [item for item in sys.meta_path if type(item).__qualname__ != OwnFirst.__qualname__]
    sys.meta_path.insert(0, OwnFirst(SHARED, folders))


def own_first() -> None:
    """The same for all libraries, in a program of ours: what PYTHONPATH names comes last in its search."""
    foreign = {os.path.abspath(folder) for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if folder}  # noqa: PTH100
    sys.path.sort(key=lambda folder: folder in foreign)
    # A package without an __init__ would still lose to one of that name which has it, wherever that is.
    take_from([folder for folder in sys.path if folder not in foreign])


def environment() -> dict[str, str]:
    """For a child that is this Python too: it finds what this one finds."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(folder for folder in sys.path if folder)}


def load(name: str) -> ModuleType:
    """The library; raises BareflowError when it cannot be imported or is too old."""
    try:
        module = importlib.import_module(name)
    except Exception as error:
        raise BareflowError(_cannot(name, error)) from error
    found, oldest = version(module), OLDEST.get(name, "")
    if found and _numbers(found) < _numbers(oldest):
        raise BareflowError(f"{name} {found} in {place(module)} is too old, the suite needs {oldest}; {ADVICE}")
    return module


def place(module: ModuleType) -> str:
    """The folder that a package lies in."""
    return str(Path((module.__spec__ and module.__spec__.origin) or "").parent)


def version(module: ModuleType) -> str:
    """What the package beside it is, "" when nothing there says so."""
    folder = Path(place(module)).parents[module.__name__.count(".")]
    wanted = _normal(module.__name__)
    for item in folder.glob("*.*-info"):
        name, _, found = item.stem.partition("-")
        if _normal(name) == wanted:
            return found.split("-")[0]
    return str(getattr(module, "__version__", ""))


def culprit(error: BaseException) -> str | None:
    """The sentence about a library during whose import this error came; None when it came from elsewhere."""
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_locals.get("name")
        importing = trace.tb_frame.f_code.co_filename.startswith("<frozen importlib")
        if importing and isinstance(name, str) and not name.startswith(__package__ or "bareflow_gdb"):
            return _cannot(name, error)
        trace = trace.tb_next
    # Of an ImportError Python itself has taken those frames out.
    if isinstance(error, ImportError) and error.name and error.name.split(".")[0] != __package__:
        return _cannot(error.name, error)
    return None


def _cannot(name: str, error: BaseException) -> str:
    if name in sys.stdlib_module_names:
        # gdb's Python takes the library of the first python3 in PATH, which a virtual environment changes.
        return (
            f"Python's own {name} cannot be used ({type(error).__name__}: {error}): this Python takes the standard "
            "library of another one; leave its virtual environment (`deactivate`) before you start gdb"
        )
    try:
        spec = importlib.util.find_spec(name.split(".")[0])
    except (ImportError, ValueError):
        spec = None
    where = next(iter(spec.submodule_search_locations or [spec.origin or ""]), "") if spec is not None else ""
    of = f" in {where}" if where else ""
    return f"the library {name}{of} cannot be used ({type(error).__name__}: {error}); {ADVICE}"


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])
