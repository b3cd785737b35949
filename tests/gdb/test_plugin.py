"""The suite inside gdb without any guest: loading, help, completion, errors."""

from __future__ import annotations

from pathlib import Path

from gdb_harness import ROOT, SCRIPT, Gdb

COMMANDS = (
    "attach",
    "boot",
    "identify",
    "jit",
    "modules",
    "pools",
    "profile",
    "recompile",
    "status",
    "step-swap",
    "swaps",
    "trace",
)
NEEDS_GUEST = tuple(name for name in COMMANDS if name not in ("attach",))
ARGUMENTS = {"identify": "0x10000", "recompile": "primes", "trace": "status"}


def test_every_command_is_listed_under_both_names(gdb: Gdb) -> None:
    for prefix in ("bf", "bareflow"):
        listed = gdb.run(f"help {prefix}").out
        for name in COMMANDS:
            assert f"{prefix} {name} -- " in listed


def test_each_commands_help_has_a_summary_usage_options_and_an_example(gdb: Gdb) -> None:
    listed = [line.split()[1] for line in gdb.run("help bf").out.splitlines() if line.startswith("bf ")]
    assert len(listed) > len(COMMANDS)
    shown = gdb.run(*(f"help bf {name}" for name in listed)).out
    for name in listed:
        text = next(part for part in shown.split("\nExample: ") if f"Usage: bf {name} " in part)
        assert text.split("Usage:")[0].strip().endswith("."), name
        assert "--json" in text
        assert f"\nExample: bf {name}" in shown


def test_the_root_script_loads_the_same(gdb: Gdb) -> None:
    loaded = gdb.run(f"source {ROOT / 'bareflow.py'}", "help bf status", suite=False)
    assert "Usage: bf status" in loaded.out
    assert loaded.err == ""


def test_loading_prints_nothing_and_defines_only_bareflow_commands(gdb: Gdb) -> None:
    listing = "help user-defined", "info breakpoints", "show prompt", "info auto-load python-scripts"
    assert gdb.run(*listing).out == gdb.run(*listing, suite=False).out


def test_sourcing_again_leaves_one_set_of_commands_and_handlers(gdb: Gdb) -> None:
    result = gdb.run(f"source {SCRIPT}", f"source {SCRIPT}", "help bf", "bf status")
    assert result.out.count("bf status -- ") == 1
    assert result.err.count("bf status: ") == 1


def test_without_a_guest_each_command_is_one_sentence_with_the_next_step(gdb: Gdb) -> None:
    asked = [f"bf {name} {ARGUMENTS.get(name, '')}" for name in NEEDS_GUEST]
    result = gdb.run(*asked, "echo still here\\n")
    assert result.err.strip().splitlines() == [
        f"bf {name}: gdb is not connected to a guest; `bf attach` or `target remote` first" for name in NEEDS_GUEST
    ]
    assert result.out == "still here\n"


def test_a_wrong_option_names_the_help(gdb: Gdb) -> None:
    result = gdb.run("bf pools --wrong")
    assert "unrecognized arguments: --wrong; see `help bf pools`" in result.err


def test_a_program_that_is_no_guest_is_told_apart(gdb: Gdb) -> None:
    result = gdb.run("starti", "bf status", "kill", elf=Path("/bin/true"))
    assert "bf status: gdb debugs a native program, not a guest; connect with `bf attach`" in result.err


def test_exit_on_error_ends_gdb_with_status_2(gdb: Gdb) -> None:
    result = gdb.run("set bareflow exit-on-error on", "bf status", "echo not reached\\n")
    assert result.code == 2
    assert "not reached" not in result.out
    assert "bf status: gdb is not connected" in result.err


def test_completion_offers_options_and_choices(gdb: Gdb) -> None:
    assert gdb.run("complete bf pools --c").out.split() == ["bf", "pools", "--check"]
    assert gdb.run("complete bf pools c").out.split() == ["bf", "pools", "code"]
    assert gdb.run("complete bf recompile --tier ").out.split("\n")[:2] == [
        "bf recompile --tier O0",
        "bf recompile --tier O1",
    ]


def test_debug_shows_the_traceback_and_else_it_is_not_shown(gdb: Gdb) -> None:
    assert "Traceback" in gdb.run("bf status --debug").out
    plain = gdb.run("bf status")
    assert "Traceback" not in plain.out + plain.err


def test_loading_imports_no_parser_no_tables_and_no_disassembler(gdb: Gdb) -> None:
    loaded = gdb.run("python import sys; print(sorted(sys.modules))").out
    for heavy in ("dissect", "rich", "capstone", "numpy", "qemu", "asyncio", "hashlib", "difflib"):
        assert f"'{heavy}'" not in loaded
    # Each of these wings decodes records, whose classes take most of the time.
    for wing in ("code.functions", "code.jit", "pools", "modules", "names", "machine", "stock"):
        assert f"'bareflow_gdb.guest.{wing}" not in loaded
