"""A guest whose functions are named to be more than names, in a real gdb: Tab and Enter do nothing but ask."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from gdb_harness import EXAMPLES, SCRIPT, Gdb
from hostile_names import CALLS, CANARY, HARMFUL, HOSTILE

from bareflow_gdb import foreign
from bareflow_gdb.abi import layouts
from bareflow_gdb.cli import completers
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.qemu.machine import Machine
from bareflow_gdb.questions.question import FUNCTIONS, MODULES

FUNCTION_COMMANDS = ("disas", "bitcode", "break-swap", "watch", "break", "identify", "block", "stack --ebp", "header")
"""Commands that take a name or an address and do not let the guest run."""


@pytest.fixture(scope="module")
def hostile(idle_machine: Machine) -> Machine:
    """An idle machine, its functions and modules renamed in RAM."""
    memory = idle_machine.memory()
    root = Guest.attach(memory).kernel().root
    assert root is not None
    tables = ((root.function_table, "bf_function"), (root.module_manager, "module_profile"))
    for table, layout in tables:
        for index, name in enumerate(HOSTILE[:10]):
            at = table + index * layouts.size(layout) + layouts.offset(layout, "name")
            memory.write(at, name.ljust(32, b"\0"), "name")
    return idle_machine


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Path]:
    """The directory in which gdb runs: nobody may have made a file in it when the test ends."""
    folder = tmp_path / "empty"
    folder.mkdir()
    yield folder
    assert not list(folder.iterdir())
    assert not list(tmp_path.rglob(f"{CANARY}*"))


def commands_of(gdb: Gdb) -> list[str]:
    return [line.split()[1] for line in gdb.run("help bf").out.splitlines() if line.startswith("bf ")]


def test_every_completion_comes_back_as_it_is(gdb: Gdb, hostile: Machine, empty: Path) -> None:
    attach = f"target remote {hostile.gdb_socket}"
    names = [foreign.clean(name) for name in HOSTILE]
    starts = ("", *sorted({name[:1] for name in names if name} - {"#"}))
    commands = commands_of(gdb)
    asked = [f"complete bf {command} {start}" for command in commands for start in starts]
    said = gdb.run(attach, *asked, cwd=empty).out
    offered = sorted(set(re.findall(r"^bf .*$", said, re.MULTILINE)))
    assert {"bf disas compute", "bf watch compute", "bf break jit:compute@O2"} <= set(offered) or "bf disas" in said
    assert not any(sign in line for line in offered for sign in "$(\"';|` \\<".replace(" ", ""))
    back = [line for line in offered if line.split(" ", 2)[1] in ("disas", "watch", "break-swap", "bitcode")]
    words = ";".join(f"assert gdb.string_to_argv({line!r}) == {line.split(' ')!r}" for line in offered)
    known = gdb.run(attach, f"python {words}", *back, "python print('all asked')", cwd=empty)
    assert "all asked" in known.out
    assert "Error" not in known.err and "is not an address" not in known.err, known.err


def test_no_command_evaluates_what_a_guest_names(gdb: Gdb, hostile: Machine, empty: Path) -> None:
    names = [name.decode("latin-1").replace("\n", " ") for name in CALLS]
    given = [*names, *(name.replace("\\", "") for name in names), *(f"jit:{name}" for name in names)]
    # As gdb's own completion would give them back, and as somebody types them.
    quoted = [foreign.gdb_word(name) for name in given]
    asked = [f"bf {command} {name}" for command in FUNCTION_COMMANDS for name in (*given, *quoted)]
    said = gdb.run(f"target remote {hostile.gdb_socket}", *asked, "info breakpoints", cwd=empty)
    assert not HARMFUL.search(said.out + said.err)
    assert "Traceback" not in said.out + said.err


def test_every_question_shows_such_names_harmlessly(gdb: Gdb, hostile: Machine, empty: Path) -> None:
    asked = [f"bf {example}{kind}" for example in EXAMPLES for kind in ("", " --json")]
    said = gdb.run(f"target remote {hostile.gdb_socket}", *asked, "bf jitsym", "bf find", "backtrace", cwd=empty)
    assert foreign.clean(CALLS[0]) in said.out
    assert not HARMFUL.search(said.out + said.err)


def test_a_swap_of_such_a_function_prints_its_name_and_runs_nothing(gdb: Gdb, hostile: Machine, empty: Path) -> None:
    name = foreign.gdb_word(foreign.clean(HOSTILE[2]))
    slots = Guest.attach(hostile.memory()).kernel().slots()
    slot = next(int(slot) for known, slot in slots.items() if known == foreign.clean(HOSTILE[2]))
    python = "python gdb.execute(gdb.breakpoints()[0].commands)"
    at_store = ("set $was = $edx", f"set $edx = {slot:#x}", python, "set $edx = $was")
    said = gdb.run(f"target remote {hostile.gdb_socket}", f"bf break-swap {name}", *at_store, cwd=empty)
    assert f"\n{foreign.clean(HOSTILE[2])}: O" in said.out, said.out


@pytest.mark.usefixtures("hostile")
def test_a_shell_is_offered_no_such_name() -> None:
    for kind in (FUNCTIONS, MODULES):
        offered = completers.COMPLETERS[kind]()
        assert not {name for name in offered if not re.fullmatch(r"[\w./+~-]+", name)}


@pytest.mark.parametrize("expression", ["0x200010", "$esp", "$eax | 3", "(0x200000 + 4 * 4)", "1 << 21 | 0x10", "$1"])
def test_an_address_is_numbers_registers_and_arithmetic(gdb: Gdb, hostile: Machine, expression: str) -> None:
    asked = (f"print {expression}", f"print/x (unsigned int) ({expression})", f"bf identify {expression} --json")
    said = gdb.run(f"target remote {hostile.gdb_socket}", "print 0x300000", *asked)
    value = re.search(r"^\$3 = (0x[0-9a-f]+)$", said.out, re.MULTILINE)
    assert value is not None
    assert int(said.json()["address"], 16) == int(value[1], 16)


@pytest.mark.parametrize(
    "expression",
    [
        '$_shell("touch INJ")',
        '($_shell)("touch INJ")',
        "(0x200010)(1)",
        "$eip = 0",
        "$eip++",
        "*(int *) 0x600 = 1",
        "{int} 0x600 = 1",
        '$bf_func("primes")',
        "1, 2",
        "((",
        "1 +",
        "-1 >> -1",
        "1 / 0",
        "@",
    ],
)
def test_anything_else_is_refused_and_changes_nothing(gdb: Gdb, hostile: Machine, expression: str, empty: Path) -> None:
    asked = [f"bf {command} {expression}" for command in ("identify", "block", "disas")]
    said = gdb.run(f"target remote {hostile.gdb_socket}", "print $eip", *asked, "print $eip", cwd=empty)
    before, after = re.findall(r"^\$\d = (.*)$", said.out, re.MULTILINE)
    assert before == after
    assert said.err.count("bf ") >= 2 and "Traceback" not in said.err
    assert "is not an address" in said.err


def test_a_machine_of_the_environment_is_not_several_commands(
    gdb: Gdb, hostile: Machine, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BF_MACHINE", f"{hostile.name}\nshell touch INJ3")
    said = gdb.run(f"source {SCRIPT.with_name('trace_swaps.py')}", cwd=empty)
    assert f"no machine named {hostile.name}?shell" in said.err or "unrecognized arguments" in said.err


@pytest.mark.parametrize("machine", ["a1\nshell touch INJ3", "unix:| touch INJ4", "|touch INJ5"])
def test_a_machine_of_the_environment_is_one_word(
    gdb: Gdb, machine: str, empty: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BF_MACHINE", machine)
    script = SCRIPT.with_name("trace_swaps.py")
    for commands in ((f"source {script}",), (f"bf attach {foreign.gdb_word(machine)}",)):
        said = gdb.run(*commands, cwd=empty)
        assert "no machine named" in said.err or "cannot connect" in said.err


def test_a_temporary_directory_of_any_name_is_one_word(
    gdb: Gdb, hostile: Machine, empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = tmp_path / "a b\"'$(x)\\ é;|{}"
    odd.mkdir()
    monkeypatch.setenv("TMPDIR", str(odd))
    asked = ("bf jitsym", "info line *0x200010", "bf jitsym --detach", "bf jitsym --detach")
    said = gdb.run(f"target remote {hostile.gdb_socket}", *asked, cwd=empty)
    published = re.search(r"^(\S+)@O3 ", said.out[said.out.index("SYMBOL") :], re.MULTILINE)
    assert published is not None
    assert "bf jitsym:" not in said.err, said.err
    assert not list(odd.iterdir())
