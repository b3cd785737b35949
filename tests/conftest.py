"""What do tests share? Real machines that end with the test, and where the built firmware is."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from machines import QUICK, SECONDS, Asked, Assemble, Boot

from bareflow_gdb.cli.main import main
from bareflow_gdb.guest.boot.wait import wait_for_stage
from bareflow_gdb.qemu.image import RootSettings
from bareflow_gdb.qemu.launch import launch
from bareflow_gdb.qemu.machine import Machine

FIRMWARE = Path(__file__).parent.parent / "build" / "firmware"

# How long an example takes says more about what else the machine does.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")


def pytest_configure() -> None:
    """A session that is terminated (`timeout`, a cancelled CI job) ends like one that is interrupted.

    Without that its fixtures would not be torn down, and their machines run on: they are detached.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def own_machines() -> Iterator[Path]:
    """A runtime directory for this test session, and a cache: its machines and its objects are not the user's."""
    patch = pytest.MonkeyPatch()
    folder = Path(tempfile.mkdtemp(prefix="bft-"))
    patch.setenv("XDG_RUNTIME_DIR", str(folder))
    patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    yield folder
    for machine in Machine.all() + Machine.stale():
        machine.stop()
    patch.undo()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def firmware() -> Path:
    """The directory of the built firmware."""
    if not (FIRMWARE / "fluid.img").exists():
        pytest.fail(f"{FIRMWARE}/fluid.img is not built; run `make firmware` first")
    return FIRMWARE


@pytest.fixture(scope="session")
def image(firmware: Path) -> Path:
    """The boot disk image."""
    return firmware / "fluid.img"


@pytest.fixture
def launched() -> Iterator[Boot]:
    """`launch`, with the machine stopped when the test ends."""
    machines: list[Machine] = []

    def start(*arguments: Any, **options: Any) -> Machine:
        machine = launch(*arguments, **options)
        machines.append(machine)
        return machine

    yield start
    for machine in machines:
        machine.stop()


@pytest.fixture
def booted(image: Path, launched: Boot) -> Boot:
    """A factory of machines: `booted(stage="idle", thresholds=(10, 20, 30), hold=0, …, icount=None, …)`."""

    def boot(stage: str | int | None = "idle", **options: Any) -> Machine:
        return _boot(launched, image, stage, options)

    return boot


@pytest.fixture(scope="module")
def idle_machine(image: Path) -> Iterator[Machine]:
    """One machine that has ended its run, thresholds 10/20/30, for tests of a file that only read."""
    machine = _boot(launch, image, "idle", {})
    yield machine
    machine.stop()


@pytest.fixture
def asked(idle_machine: Machine, capsys: pytest.CaptureFixture[str]) -> Asked:
    """`bareflow WORDS` of the idle machine of a file: the exit code, and all that was printed."""

    def ask(*words: str | Path) -> tuple[int, str]:
        code = main([*map(str, words), idle_machine.name])
        said = capsys.readouterr()
        return code, said.out + said.err

    return ask


@pytest.fixture
def boot_sector(tmp_path: Path) -> Assemble:
    """Assembles 16-bit code (nasm) into a bootable disk image."""

    def assemble(code: str) -> Path:
        source, disk = tmp_path / "boot.asm", tmp_path / "boot.img"
        start = "org 0x7c00\nbits 16\nxor ax,ax\nmov ds,ax\nmov es,ax\n"
        source.write_text(f"{start}{code}\ntimes 510-($-$$) db 0\ndw 0xaa55\n")
        subprocess.run(["nasm", "-f", "bin", "-o", str(disk), str(source)], check=True)
        # SeaBIOS wants whole cylinders.
        disk.write_bytes(disk.read_bytes().ljust(1 << 20, b"\0"))
        return disk

    return assemble


def _boot(launch: Boot, image: Path, stage: str | int | None, options: dict[str, Any]) -> Machine:
    known = RootSettings.__dataclass_fields__
    words = {name: options.pop(name) for name in list(options) if name in known}
    words.setdefault("thresholds", QUICK)
    machine = launch(image, settings=RootSettings(**words), **options)
    if stage is not None:
        wait_for_stage(machine, stage, SECONDS)
    return machine
