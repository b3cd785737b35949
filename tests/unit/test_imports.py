"""The floors of the suite: imports point down, gdb is imported in two places, gdb gets nothing compiled."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import bareflow_gdb

ROOT = Path(bareflow_gdb.__file__).parent
FLOORS = {
    "errors": 0,
    "files": 0,
    "foreign": 0,
    "libraries": 0,
    "small_files": 0,
    "abi": 1,
    "memory": 2,
    "qemu": 2,
    "guest": 3,
    "model": 4,
    "tracing": 4,
    "checks": 4,
    "analysis": 4,
    "recompile": 4,
    "build": 4,
    "pgo": 4,
    "render": 5,
    "questions": 6,
    "cli": 7,
    "pytest_plugin": 8,
    "gdb_ui": 7,
}
GDB_ALLOWED = ("gdb_ui", "memory/inferior.py")
# What gdb's own Python imports; those parts of the suite must come without them.
COMPILED = ("numpy", "pyarrow", "duckdb", "llvmlite", "unicorn", "rpds")
FOR_GDB = (
    "errors",
    "files",
    "small_files",
    "foreign",
    "libraries",
    "abi",
    "memory",
    "qemu",
    "guest",
    "checks",
    "render",
    "questions",
    "gdb_ui",
)
# The HTML report is made from a whole trace, by the host program.
FOR_HOST = ROOT / "render" / "report"

FILES = sorted(ROOT.rglob("*.py"))


def package_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path, *, top_level_only: bool = False) -> Iterator[str]:
    """The dotted names that a file imports; `from a import b` gives a.b."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; write the full name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down_only(path: Path) -> None:
    package = package_of(path)
    if package == "__init__":
        return
    for name in imports(path):
        parts = name.split(".")
        if parts[0] != "bareflow_gdb" or len(parts) < 2:
            continue
        other = parts[1]
        assert FLOORS[other] <= FLOORS[package], f"{path}: {package} (lower) imports {name} (higher)"
        assert {package, other} != {"cli", "gdb_ui"}, f"{path}: cli and gdb_ui must not know each other"


def graph(name_of: Callable[[Path], str]) -> dict[str, set[str]]:
    """What imports what, each file under the name that `name_of` gives it; imports for types count too."""
    modules = {".".join(path.relative_to(ROOT.parent).with_suffix("").parts): path for path in FILES}
    found: dict[str, set[str]] = {name_of(path): set() for path in FILES}
    for path in FILES:
        for name in imports(path):
            other = modules.get(name) or modules.get(name.rpartition(".")[0])
            if other is not None and name_of(other) != name_of(path):
                found[name_of(path)].add(name_of(other))
    return found


def circle(arrows: dict[str, set[str]]) -> list[str]:
    """Names that import one another in a ring; empty when there is none."""
    done: set[str] = set()

    def walk(name: str, trail: list[str]) -> list[str]:
        if name in trail:
            return trail[trail.index(name) :]
        if name in done:
            return []
        for other in sorted(arrows[name]):
            if found := walk(other, [*trail, name]):
                return found
        done.add(name)
        return []

    return next((found for name in sorted(arrows) if (found := walk(name, []))), [])


def test_no_files_import_one_another_in_a_circle() -> None:
    assert circle(graph(lambda path: path.relative_to(ROOT).as_posix())) == []


def test_no_folders_import_one_another_in_a_circle() -> None:
    """A folder inside a package is one room; the files beside it are rooms of their own."""

    def room(path: Path) -> str:
        parts = path.relative_to(ROOT).parts
        return "/".join(parts[:2]) if len(parts) > 2 else "/".join(parts)

    assert circle(graph(room)) == []


def test_a_circle_is_found() -> None:
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": set()}) == ["b", "c"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_gdb_is_imported_in_its_two_places_only(path: Path) -> None:
    if any(name == "gdb" or name.startswith("gdb.") for name in imports(path)):
        place = path.relative_to(ROOT).as_posix()
        assert place.startswith(GDB_ALLOWED), f"{place} imports gdb; take the bytes through the Memory protocol"


@pytest.mark.parametrize("path", sorted((ROOT / "gdb_ui").rglob("*.py")), ids=lambda path: path.name)
def test_the_gdb_interface_imports_floors_1_to_3_and_render_only(path: Path) -> None:
    for name in imports(path):
        parts = name.split(".")
        if parts[0] == "bareflow_gdb" and len(parts) > 1:
            heavy = parts[1] not in FOR_GDB or parts[1:3] == ["render", "report"]
            assert not heavy, f"{path.name} imports {name}: heavy work belongs in a child process"


def test_what_gdb_imports_needs_no_compiled_package() -> None:
    """Imports every module that gdb may import, in a Python in which the compiled packages do not exist."""
    modules = [
        ".".join(path.relative_to(ROOT.parent).with_suffix("").parts)
        for path in FILES
        if package_of(path) in FOR_GDB
        and FOR_HOST not in path.parents
        and path.name != "__init__.py"
        and not any(name.split(".")[0] == "gdb" for name in imports(path))
        and package_of(path) != "gdb_ui"
    ]
    program = f"""
import importlib, sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {COMPILED!r}:
            raise ImportError(f"{{name}} is not for gdb")
sys.meta_path.insert(0, Blocker())
for name in {modules!r}:
    importlib.import_module(name)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_importing_the_layouts_does_not_parse_them() -> None:
    program = "import sys, bareflow_gdb.abi.layouts; sys.exit('dissect' in ' '.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
