"""`bareflow build TOOL`: is every tool reached, with its own words, and are its failures exit code 2?"""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from guest_code import MIXED, bitcode, tier

from bareflow_gdb.build.module import read_module
from bareflow_gdb.cli import main as cli
from bareflow_gdb.cli.verbs.build import TOOLS


@pytest.mark.parametrize("tool", [word for word, _, _ in TOOLS])
def test_each_tool_tells_its_own_words(tool: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["build", tool, "--help"])
    assert ended.value.code == 0
    assert "--output" in capsys.readouterr().out


def test_bitcode_and_object_become_a_disk_with_a_module_of_a_cache(tmp_path: Path) -> None:
    payload = bitcode(tmp_path, MIXED)
    (tmp_path / "mixed.bc").write_bytes(payload)
    (tmp_path / "mixed.o").write_bytes(tier(tmp_path, payload, 2))
    wrapped, image, disk = tmp_path / "mixed.bc.wrapped", tmp_path / "mixed.mod", tmp_path / "fat16.img"
    names = ["--name", "mixed", "--entry", "mixed_main"]
    source = ["--input", str(tmp_path / "mixed.bc"), "--output", str(wrapped)]
    assert cli.main(["build", "wrap", *source, *names]) == 0
    assert cli.main(["build", "module", "--object", str(tmp_path / "mixed.o"), "--output", str(image), *names]) == 0
    registry = tmp_path / "registry.c"
    assert cli.main(["build", "registry", "--cache", str(tmp_path), "--output", str(registry)]) == 0
    assert "cache_module_mixed" in registry.read_text()
    assert cli.main(["build", "disk", "--output", str(disk), str(wrapped), str(image)]) == 0
    copy = tmp_path / "copy"
    subprocess.run(["mcopy", "-n", "-i", str(disk), "::MIXED.MOD", str(copy)], check=True)
    assert read_module(copy.read_bytes()).name == "mixed"


def test_what_a_tool_cannot_do_is_exit_code_2_and_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = tmp_path / "missing.mod"
    assert cli.main(["build", "disk", "--output", str(tmp_path / "disk.img"), str(missing)]) == 2
    assert capsys.readouterr().err == f"disk: {missing}: No such file or directory\n"
