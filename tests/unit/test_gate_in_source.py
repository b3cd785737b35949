"""Whatever the suite gives gdb to execute or to evaluate is a constant, numbers, or has passed the gate.

Read from the source, so that a new place is found by itself.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import bareflow_gdb

ROOT = Path(bareflow_gdb.__file__).parents[1]
FILES = sorted([*(ROOT / "bareflow_gdb").rglob("*.py"), *(ROOT / "gdb_scripts").glob("*.py")])
GATE = {"printable", "gdb_name", "gdb_word", "switch"}
"""Functions of foreign.py that make text harmless in a command."""

# The evaluator gives gdb single words that its own pattern took.
EXEMPT = {("expression.py", "operand"), ("expression.py", "name")}
EXECUTED = {"execute", "parse_and_eval", "Breakpoint"}
ASSIGNED = {"condition", "commands", "location"}


def name_of(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


class Scan(ast.NodeVisitor):
    """Collects what reaches gdb as text, and all that is assigned to a name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.sinks: list[ast.expr] = []
        self.assigned: dict[str, list[ast.expr]] = {}
        self.visit(ast.parse(path.read_text()))

    def visit_Call(self, node: ast.Call) -> None:
        called = node.func
        if isinstance(called, ast.Attribute) and name_of(called.value) == "gdb" and called.attr in EXECUTED:
            self.sinks += node.args[:1]
        # Our own breakpoints, whose places and conditions gdb parses.
        if name_of(called) in {"internal_breakpoint", "internal_watchpoint"}:
            self.sinks += node.args[1:]
        if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Call) and called.attr == "__init__":
            bases = self.path.name == "breakpoints.py"
            self.sinks += node.args[:1] if bases else []
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        for target in node.targets:
            if isinstance(target, ast.Attribute) and target.attr in ASSIGNED:
                self.sinks.append(node.value)
            elif isinstance(target, ast.Name):
                self.assigned.setdefault(target.id, []).append(node.value)
        self.generic_visit(node)

    def visit_List(self, node: ast.List) -> None:
        before: ast.expr | None = None
        for item in node.elts:
            if isinstance(before, ast.Constant) and before.value == "-ex":
                self.sinks.append(item)
            before = item
        self.generic_visit(node)

    def unsafe(self) -> Iterator[str]:
        for sink in self.sinks:
            if not self.is_safe(sink):
                yield f"{self.path.name}:{sink.lineno}: {ast.unparse(sink)}"

    def is_safe(self, node: ast.expr) -> bool:
        if isinstance(node, ast.Constant):
            return True
        if isinstance(node, ast.IfExp):
            return self.is_safe(node.body) and self.is_safe(node.orelse)
        if isinstance(node, ast.JoinedStr):
            return all(self.is_safe_part(part) for part in node.values)
        if isinstance(node, ast.Call):
            return name_of(node.func) in GATE
        if isinstance(node, ast.Name):
            constant, taken = CONSTANT.get(self.path.name, ("", set()))
            if (self.path.name, node.id) in EXEMPT or (node.id in taken and self.is_of_words(constant)):
                return True
            values = self.assigned.get(node.id, [])
            return bool(values) and all(self.is_safe(value) for value in values)
        return False

    def is_of_words(self, constant: str) -> bool:
        """A dictionary of nothing but words."""
        values = self.assigned.get(constant, [])
        return bool(values) and all(
            isinstance(value, ast.Dict) and all(isinstance(part, ast.Constant) for part in (*value.keys, *value.values))
            for value in values
        )

    def is_safe_part(self, part: ast.expr) -> bool:
        if not isinstance(part, ast.FormattedValue):
            return True
        form = ast.unparse(part.format_spec).strip("f'\"") if part.format_spec is not None else ""
        return form.endswith(("x", "d")) or self.is_safe(part.value)


# What a function of ours only hands on: the places where it comes from are looked at instead.
# `break-swap --when` takes an expression as gdb's own `condition` does: what the user typed, and nothing of the guest.
HANDED_ON = {"running.py": {"condition"}, "breakpoints.py": {"place"}, "break_swap.py": {"chosen"}}
# What a file's own constant says, taken out of it in a loop.
CONSTANT = {"hooks.py": ("_BODIES", {"name", "body"})}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_foreign_text_reaches_gdb_past_the_gate(path: Path) -> None:
    handed_on = HANDED_ON.get(path.name, set())
    found = [place for place in Scan(path).unsafe() if place.rpartition(": ")[2] not in handed_on]
    assert not found, "make it pass a function of foreign.py"


@pytest.mark.parametrize(
    "text",
    [
        "gdb.execute(f'bf attach {name}')",
        "gdb.parse_and_eval(expression)",
        "gdb.execute('echo ' + name)",
        "breakpoint.commands = f'printf \"{name}\"'",
        "words = ['-ex', f'bf attach {target}']",
        "running.internal_breakpoint(0, f'$edx == {slot}')",
        "gdb.Breakpoint(f'-function {name}')",
        "command = f'a {b}'\ngdb.execute(command)",
    ],
)
def test_the_scan_finds_a_place_of_each_kind(tmp_path: Path, text: str) -> None:
    (tmp_path / "place.py").write_text(text)
    assert list(Scan(tmp_path / "place.py").unsafe())


def test_no_shell_runs_what_the_suite_starts() -> None:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith(
                ("subprocess.", "os.system", "os.popen")
            ):
                words = {word.arg for word in node.keywords}
                assert "shell" not in words and not ast.unparse(node.func).startswith("os."), path
