"""The suite's own libraries win, their versions are checked, and the one that fails in its import is named."""

from __future__ import annotations

import importlib
import sys
import tomllib
from pathlib import Path

import pytest

from bareflow_gdb import libraries
from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest import doctor_libraries


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which Python finds packages; gone, with what was imported from it, at the end."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return tmp_path


def package(folder: Path, name: str, text: str, version: str = "") -> None:
    where = folder.joinpath(*name.split("."))
    where.mkdir(parents=True)
    (where / "__init__.py").write_text(text, encoding="utf-8")
    if version:
        (folder / f"{name.replace('.', '_')}-{version}.dist-info").mkdir()


def test_the_oldest_versions_are_those_of_the_project() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    required = dict(line.split(">=") for line in project["dependencies"])
    assert {name: required[name] for name in libraries.OLDEST} == libraries.OLDEST


def test_a_version_that_is_too_old_is_refused(packages: Path) -> None:
    package(packages, "dissected.cstruct", "", "3.14")
    libraries.OLDEST["dissected.cstruct"] = "4.7"
    try:
        with pytest.raises(BareflowError, match=r"dissected\.cstruct 3\.14 in \S+ is too old, the suite needs 4\.7; `"):
            libraries.load("dissected.cstruct")
    finally:
        del libraries.OLDEST["dissected.cstruct"]


@pytest.mark.parametrize("text", ("raise RuntimeError('bad')", "import nosuch_thing", "1 / 0", "import"))
def test_what_a_library_raises_in_its_import_is_one_sentence(packages: Path, text: str) -> None:
    package(packages, "broken", text)
    with pytest.raises(BareflowError, match=r"the library broken in \S+ cannot be used \(.*\); `make setup`"):
        libraries.load("broken")
    with pytest.raises(Exception) as caught:
        importlib.import_module("broken")
    said = libraries.culprit(caught.value)
    assert said is not None and said.startswith(("the library broken in ", "the library nosuch_thing cannot"))


def test_a_part_of_python_that_another_python_brought_says_how_to_leave_it(packages: Path) -> None:
    """Debian's gdb in a virtual environment of a Python that was built otherwise."""
    package(packages, "asks_for_ssl", "raise ImportError('_ssl.so: undefined symbol', name='_ssl', path='/x/_ssl.so')")
    with pytest.raises(ImportError) as caught:
        importlib.import_module("asks_for_ssl")
    caught.value.__traceback__ = None
    said = libraries.culprit(caught.value)
    assert said is not None and "Python's own _ssl cannot be used" in said and "(`deactivate`)" in said
    assert libraries.culprit(ImportError("no", name="bareflow_gdb.nothing")) is None


def test_an_error_of_ours_is_not_blamed_on_a_library() -> None:
    try:
        raise KeyError("name")
    except KeyError as error:
        assert libraries.culprit(error) is None


def test_own_packages_win_over_an_earlier_folder_also_without_an_init(packages: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    package(own, "spaced.inner", "MINE = True")
    package(packages, "spaced", "raise RuntimeError")
    package(packages, "other", "MINE = False")
    package(own, "other", "MINE = True")
    sys.meta_path.insert(0, libraries.OwnFirst(("spaced",), [str(own)]))
    assert importlib.import_module("spaced.inner").MINE
    assert not importlib.import_module("other").MINE, "only what the suite asked for"


def test_a_library_that_imports_but_does_its_job_wrong_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    states = {check.part: check.state for check in doctor_libraries.check_libraries(inside_gdb=False)}
    assert set(states.values()) == {"works"}
    wrong = [
        doctor_libraries.Library(item.name, item.purpose, lambda: False, item.needed, item.inside_gdb)
        for item in doctor_libraries.LIBRARIES
    ]
    monkeypatch.setattr(doctor_libraries, "LIBRARIES", wrong)
    states = {check.part: check.state for check in doctor_libraries.check_libraries(inside_gdb=False)}
    assert states["capstone"] == "fails" and states["rich"] == "limited"
