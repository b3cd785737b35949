"""The suite as users have it: the wheel in an environment of its own, outside the checkout."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import fresh_environment
import pytest
from elftools.elf.elffile import ELFFile

ROOT = Path(__file__).parents[2]
SUITE = ROOT / "bareflow_gdb"
SECONDS = 300
WAIT = ("--wait", "idle", "--timeout", str(SECONDS))
OTHER = str(Path(sys.executable).parent / "gdb")
GDBS = {"own": ("18.", ()), "debian": ("13.", ("--gdb", "/usr/bin/gdb")), "other": ("18.", ("--gdb", OTHER))}
SUITE_OF_GDB = ("-ex", "python import bareflow_gdb; print('gdb', gdb.VERSION, 'with', bareflow_gdb.__file__)")


@dataclass(frozen=True)
class Installed:
    """An environment, and a home that is also the current directory."""

    environment: Path
    home: Path

    @property
    def package(self) -> Path:
        return next(self.environment.glob("lib/python3.*/site-packages")) / "bareflow_gdb"

    def run(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        """A command in the activated environment."""
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            cwd=self.home,
            env={
                "PATH": f"{self.environment}/bin:/usr/bin:/bin",
                "HOME": str(self.home),
                "XDG_RUNTIME_DIR": os.environ["XDG_RUNTIME_DIR"],
                "LC_ALL": "C.UTF-8",
            },
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done


def files_of_the_suite() -> set[Path]:
    return {path for path in SUITE.rglob("*") if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory, firmware: Path) -> Installed:  # noqa: ARG001 - is built
    before = files_of_the_suite()
    # What is built is packed as it is: tests beside this one use it.
    made = subprocess.run(
        ["make", "-C", str(ROOT), "-o", "firmware", "wheel"], capture_output=True, text=True, timeout=SECONDS
    )
    assert made.returncode == 0, made.stderr
    assert files_of_the_suite() == before, "nothing is generated in the source tree"
    [wheel] = (ROOT / "build" / "dist").glob("bareflow_gdb-*.whl")
    folder = tmp_path_factory.mktemp("installed")
    (folder / "home").mkdir()
    return Installed(fresh_environment.make(folder / "env", wheel), folder / "home")


@pytest.fixture(scope="module")
def machine(installed: Installed) -> Iterator[str]:
    """A machine at its end, of the packaged kernel."""
    told = installed.run("bareflow", "run", "--name", "installed", "--thresholds", "10,20,30", *WAIT).stdout
    assert f"image    {installed.package}/demo/fluid.img\n" in told
    yield "installed"
    installed.run("bareflow", "stop", "installed")


def test_the_suite_is_the_one_in_the_environment(installed: Installed) -> None:
    told = installed.run("python", "-c", "import bareflow_gdb; print(bareflow_gdb.__file__)").stdout
    assert told.strip() == str(installed.package / "__init__.py")
    assert not list(installed.package.parent.glob("__editable__*"))


def test_the_small_model_comes_with_it(installed: Installed) -> None:
    told = installed.run("bareflow", "model", "generate", "Once upon a time, there").stdout
    assert told.startswith(" was a ")


def test_the_demo_leaves_the_trace_and_the_report(installed: Installed) -> None:
    told = installed.run("bareflow", "demo", "--out", "shown").stdout
    assert f"image    {installed.package}/demo/fluid.img\n" in told
    assert "primes: stopped before the publishing store" in told
    # What the host makes replaces other code: a tier by a higher one.
    assert re.search(r"gemm_tile@O3 #\d+ installed", told)
    assert re.search(r"gemm_tile +O0 +O3 +- +host asked", told)
    # The model's words are those of the reference, whichever tiers its kernels came to.
    said = installed.run("bareflow", "model", "generate", "Once upon a time", "--tokens", "64", "--json").stdout
    assert f"logits CRC {json.loads(said)['logits_crc']}\n" in told
    assert "(40 tokens, as many as were wanted; " in told
    shown = installed.home / "shown"
    assert {each.name for each in shown.iterdir()} == {"report.html", "serial.log", "summary.txt", "trace"}
    assert json.loads((shown / "trace" / "manifest.json").read_text())["complete"] is True
    assert re.search(r"\n  ok    0 of [\d,]+ events lost\n", (shown / "summary.txt").read_text())
    assert "primes" in (shown / "report.html").read_text()
    assert "--- END JSON ---" in (shown / "serial.log").read_text()


def test_the_demo_replaces_its_results_and_nothing_else(installed: Installed) -> None:
    kept = installed.home / "work" / "trace"
    kept.mkdir(parents=True)
    told = installed.run("bareflow", "demo", "--out", "work", code=2).stderr
    assert told == ("bareflow demo: work holds other files than a demo's; give --out a new directory\n")
    assert kept.is_dir()


@pytest.mark.parametrize("gdb", GDBS)
def test_bareflow_gdb_starts_a_gdb_with_suite_target_and_names(installed: Installed, machine: str, gdb: str) -> None:
    version, choice = GDBS[gdb]
    done = installed.run(
        *("bareflow", "gdb", *choice, machine, "--", "-nx", "-batch", *SUITE_OF_GDB),
        *("-ex", "bf status", "-ex", "list idle", "-ex", "bf doctor", "-ex", "detach"),
    )
    assert f"gdb {version}" in done.stdout
    assert f" with {installed.package}/__init__.py\n" in done.stdout
    assert "  stage       idle\n" in done.stdout
    assert "bareflow_status.idle_loops++;" in done.stdout, "the kernel's sources are there too"
    assert f"{installed.environment}/bin/bareflow" in done.stdout
    assert "Doctor: nothing fails" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("program", ["gdb", "/usr/bin/gdb"])
def test_the_script_that_is_named_works_from_gdbinit(installed: Installed, machine: str, program: str) -> None:
    script = installed.run("bareflow", "gdb", "--print-script").stdout.strip()
    assert Path(script).is_relative_to(installed.package)
    (installed.home / ".gdbinit").write_text(f"source {script}\n")
    done = installed.run(program, "-batch", "-ex", f"bf attach {machine}", "-ex", "bf status", "-ex", "detach")
    (installed.home / ".gdbinit").unlink()
    assert "  stage       idle\n" in done.stdout and "Traceback" not in done.stderr


def test_a_gdb_that_has_another_suite_takes_the_one_that_is_sourced(installed: Installed) -> None:
    script = str(installed.package / "gdb_ui" / "load.py")
    gdb = ("env", f"PYTHONPATH={ROOT}", "/usr/bin/gdb", "-nx", "-batch")
    assert f" with {SUITE}/" in installed.run(*gdb, "-x", str(SUITE / "gdb_ui/load.py"), *SUITE_OF_GDB).stdout
    told = installed.run(*gdb, "-x", script, *SUITE_OF_GDB, "-ex", "bf reload", *SUITE_OF_GDB).stdout
    assert told.count(f" with {installed.package}/__init__.py\n") == 2


def test_without_a_machine_gdb_starts_all_the_same(installed: Installed, tmp_path: Path) -> None:
    nobody = ("env", f"XDG_RUNTIME_DIR={tmp_path}")
    done = installed.run(*nobody, "bareflow", "gdb", "--", "-nx", "-batch", "-ex", "help bf status")
    assert "Usage: bf status" in done.stdout
    assert done.stderr == (
        "bareflow gdb: no machine is running; `bareflow run` starts one, and `bf attach` connects to it\n"
    )


def test_a_core_is_opened_with_the_elf_of_its_kernel(installed: Installed, machine: str) -> None:
    installed.run("bareflow", "core", machine, "--out", "guest.core")
    done = installed.run("bareflow", "gdb", "guest.core", "--", "-nx", "-batch", "-ex", "backtrace", "-ex", "bf swaps")
    assert "in kernel_main () at firmware/kernel/main.c" in done.stdout
    assert "swaps  36 by the guest's own count" in done.stdout


def test_the_scripts_for_batch_mode_are_there(installed: Installed, machine: str) -> None:
    script = installed.package / "gdb_scripts" / "post_mortem.py"
    installed.run("bareflow", "core", machine, "--out", "late.core")
    done = installed.run("bareflow", "gdb", "late.core", "--", "-nx", "-batch", "-x", str(script))
    assert "  stage       idle\n" in done.stdout


def test_the_packaged_kernel_does_not_tell_where_it_was_built(installed: Installed) -> None:
    demo = installed.package / "demo"
    for path in (path for path in demo.rglob("*") if path.is_file()):
        assert str(ROOT).encode() not in path.read_bytes(), path
    with (demo / "kernel.elf").open("rb") as file:
        units = list(ELFFile(file).get_dwarf_info().iter_CUs())
        places = [unit.get_top_DIE().attributes["DW_AT_comp_dir"].value.decode() for unit in units]
    assert len(places) > 30
    assert {place.partition("/")[0] for place in places} == {"firmware"}
