"""Debug information of a guest's bitcode in a real gdb: it tells names and lines, and makes gdb do nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from gdb_harness import Gdb
from guest_code import compile_c
from hostile_names import HARMFUL

from bareflow_gdb.gdb_ui.debug_object import Described, join
from bareflow_gdb.recompile.debug_file import for_debuggers

BASE = 0x200000
# Entry kind 4 is a Python script as text (gdb manual, The .debug_gdb_scripts section).
SCRIPT = 'x\\nopen(\\"INJ1\\", \\"w\\")\\n'
SOURCE = f"""
#define count $_shell("touch INJ2")
static const char script[] __attribute__((used, section(".debug_gdb_scripts"))) = "\\4{SCRIPT}";
#line 1 "/tmp/\033]0;TITLE\007\033[31mevil.c"
int evil(int a, int b) {{ int number = a; return number + b; }}
int shells(void) __asm__("zz+$_shell(\\"touch${{IFS}}INJ3\\")");
int shells(void) {{ return 7; }}
"""


@pytest.fixture(params=["-gdwarf-4", "-gdwarf-5"])
def object_file(request: pytest.FixtureRequest, tmp_path: Path) -> bytes:
    return compile_c(tmp_path, SOURCE, "-O0", request.param, "-fdebug-macro", name="evil")


def ask(gdb: Gdb, folder: Path, data: bytes, *placed: str) -> str:
    """All that a gdb with the widest safe path says of a symbol file, asked from an empty directory."""
    file = folder / "evil.elf"
    file.write_bytes(data)
    here = folder / "here"
    here.mkdir(exist_ok=True)
    words = " ".join([f"add-symbol-file {file}", *placed])
    questions = ["info line evil", "info scope evil", f"info symbol {BASE:#x}", "info functions -n ."]
    offered = ["complete print zz", "complete break zz", "list evil"]
    said = gdb.run("set auto-load safe-path /", words, *questions, *offered, "print count", suite=False, cwd=here)
    return said.out + said.err


def made(folder: Path) -> list[str]:
    return [path.name for path in (folder / "here").iterdir()]


def test_a_raw_object_does_harm_here(gdb: Gdb, object_file: bytes, tmp_path: Path) -> None:
    said = ask(gdb, tmp_path, object_file, f"-s .text {BASE:#x}")
    assert "INJ1" in made(tmp_path)
    assert HARMFUL.search(said)


def test_joined_symbols_are_names_and_nothing_else(gdb: Gdb, object_file: bytes, tmp_path: Path) -> None:
    version = Described("v1", ("evil@O2", "evil@jit"), BASE, 0x100, BASE, object_file, {".text": BASE})
    said = ask(gdb, tmp_path, join([version]))
    assert "evil.c" in said and "evil" in said and "number" in said
    assert not HARMFUL.search(said), said
    assert "$_shell(" not in said
    assert not made(tmp_path)


def test_the_kept_object_too(gdb: Gdb, object_file: bytes, tmp_path: Path) -> None:
    said = ask(gdb, tmp_path, for_debuggers(object_file), f"-s .text {BASE:#x}")
    assert "evil.c" in said and "number" in said
    assert not HARMFUL.search(said), said
    assert "$_shell(" not in said
    assert not made(tmp_path)
