"""How much RAM does `bareflow run` give a machine, and does it say where that is when not in /dev/shm?"""

from __future__ import annotations

from pathlib import Path

import pytest

from bareflow_gdb.build import fat_image
from bareflow_gdb.cli.main import main
from bareflow_gdb.qemu import directory
from bareflow_gdb.qemu.machine import Machine


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """With a model of 70 MB, of which nobody looks at the content."""
    with (tmp_path / "story.bfm").open("wb") as file:
        file.truncate(70 << 20)
    image = tmp_path / "disk.img"
    assert fat_image.main(["--output", str(image), str(tmp_path / "story.bfm")]) == 0
    return image


def test_a_model_on_the_disk_gets_the_ram_that_it_needs(
    image: Path, disk: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = ["run", "--image", str(image), "--paused", "--disk", str(disk)]
    for name, more, memory in (("chosen", [], 192), ("given", ["--memory", "48"], 48)):
        assert main([*words, "--name", name, *more]) == 0
        machine = Machine.find(name)
        assert machine.memory_mib == memory
        machine.stop()
    said = capsys.readouterr()
    assert said.out.count(f"  memory   192 MiB, for the model STORY.BFM of {disk}\n") == 1
    assert not said.err
    # A small one, or none, in a container for instance.
    monkeypatch.setattr(directory, "SHARED_MEMORY", tmp_path / "none")
    assert main([*words, "--name", "elsewhere", "--cpu", "max"]) == 0
    machine = Machine.find("elsewhere")
    line = f"bareflow run: {tmp_path / 'none'} has no room for 192 MiB; RAM is {machine.ram_path}\n"
    machine.stop()
    assert capsys.readouterr().err == line


def test_a_cpu_that_is_none_is_refused(image: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--image", str(image), "--cpu", "a b"]) == 2
    assert "is not a CPU" in capsys.readouterr().err
    assert main(["run", "--image", str(image), "--cpu", "nonesuch"]) == 2
    assert "QEMU did not start" in capsys.readouterr().err
