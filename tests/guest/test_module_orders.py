"""Modules that come and go while the guest runs: checked by the guest as at boot, old versions retired, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from guest_code import MODULES, bitcode, tier
from machines import SECONDS, Asked, Boot, wait_for

from bareflow_gdb.build.module import Call, link_module
from bareflow_gdb.checks import registry as checks
from bareflow_gdb.checks.subject import Subject
from bareflow_gdb.cli.main import main
from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.qemu.machine import Machine

TWICE = "int twice_calls; int twice_main(int a, int b) { twice_calls++; return 2 * a + b; }"
COMPUTE = (MODULES / "compute.c").read_text()


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Module images: one of one's own, compute with another modulus, and what the guest must not take."""
    folder = tmp_path_factory.mktemp("images")

    def image(source: str, name: str, level: int, call: Call | None = None) -> bytes:
        return link_module(tier(folder, bitcode(folder, source), level), name, f"{name}_main", level=level, call=call)

    edited = COMPUTE.replace("#define MODULUS 1000", "#define MODULUS 999")
    made = {
        "twice": image(TWICE, "twice", 0, Call((20, 2), 42)),
        "edited": image(edited, "compute", 2),
        "other_data": image(f"{edited}\nint more[3]; int *compute_more(void) {{ return more; }}", "compute", 0),
    }
    made["damaged"] = made["edited"][:-1] + b"\0"
    made["short"] = made["edited"][:40]
    for name, data in made.items():
        (folder / f"{name}.mod").write_bytes(data)
    return {name: folder / f"{name}.mod" for name in made}


def used(machine: Machine) -> list[int]:
    return [pool.used for pool in Guest.attach(machine.memory()).kernel().pools().pools]


def findings(machine: Machine) -> list[str]:
    return [finding.what for finding in checks.run(Subject(Guest.attach(machine.memory()).kernel)).findings]


def test_what_is_loaded_is_there_and_what_is_unloaded_leaves_nothing(
    idle_machine: Machine, images: dict[str, Path], asked: Asked
) -> None:
    before = used(idle_machine)
    for _ in range(3):
        code, said = asked("module", "load", images["twice"])
        assert code == 0 and "module twice loaded, O0, 32 bytes, entry 0x" in said
        assert "host asked" in asked("modules")[1]
        code, said = asked("module", "load", images["twice"])
        assert code == 1 and "the guest refused: it is loaded already; reload it" in said
        assert asked("module", "unload", "twice") == (0, "module twice unloaded\n")
        assert used(idle_machine) == before
    code, said = asked("module", "unload", images["twice"])
    assert code == 1 and "the guest refused: no module of that name is loaded" in said


@pytest.mark.parametrize(
    ("file", "why"),
    (
        ("damaged", "the SHA-256 does not match"),
        ("short", "the image is shorter than a header"),
        ("other_data", "its writable data is laid out differently"),
        ("twice", "no module of its name is loaded; load it"),
    ),
)
def test_what_the_guest_cannot_take_changes_nothing(
    idle_machine: Machine, images: dict[str, Path], asked: Asked, file: str, why: str
) -> None:
    before = used(idle_machine)
    code, said = asked("module", "reload", images[file])
    assert code == 1 and f"reload was not done, the guest refused: {why}" in said
    assert used(idle_machine) == before


def test_what_is_no_image_does_not_come_to_the_guest(images: dict[str, Path], asked: Asked) -> None:
    assert "is not a module image; `bareflow build module` makes one" in asked("module", "load", "README.md")[1]
    assert "cannot be opened" in asked("module", "load", "no/such.mod")[1]
    assert "names no module" in asked("module", "unload", "x" * 40)[1]
    assert "--register belongs to `module load`" in asked("module", "reload", images["edited"], "--register")[1]


def test_a_reloaded_function_runs_its_new_code_and_the_old_version_is_there_to_go_back_to(
    idle_machine: Machine, images: dict[str, Path], asked: Asked
) -> None:
    code, said = asked("module", "reload", images["edited"])
    assert code == 0 and "compute@O3 #21 → compute@O2 #" in said and "its swaps are vetoed now" in said
    kernel = Guest.attach(idle_machine.memory()).kernel()
    wrong = sum(i * j % 999 for i in range(100) for j in range(100))
    wait_for(lambda: kernel.functions()[2].last_result == wrong, "its first call", SECONDS)
    assert findings(idle_machine) == [f"compute returned {wrong:,}"]
    # Its bitcode is that of the old source: nothing brings it back unasked.
    code, said = asked("recompile", "compute")
    assert code == 1 and "vetoed" in said
    code, said = asked("swap", "rollback", "compute")
    assert code == 0 and "→ compute@O3 #21" in said
    wait_for(lambda: kernel.functions()[2].last_result == 4488500, "its old code", SECONDS)
    assert asked("swap", "allow", "compute")[0] == 0
    assert findings(idle_machine) == []


def test_a_registered_module_is_a_function_which_is_reloaded_and_not_unloaded(
    idle_machine: Machine, images: dict[str, Path], asked: Asked
) -> None:
    code, said = asked("module", "load", "--register", images["twice"])
    assert code == 0 and "; twice@O0 #" in said and "is called, profiled and swapped from now on" in said
    assert "registered already" in asked("module", "register", "twice")[1]
    code, said = asked("module", "unload", "twice")
    assert code == 1 and "it is a function of the adaptive JIT, whose versions are called" in said
    source = images["twice"].with_name("twice.c")
    source.write_text(TWICE.replace("2 * a", "3 * a"))
    code, said = asked("recompile", "twice", "--from", source)
    assert code == 1 and "first call  62 (expected 42)" in said
    for _ in range(2):
        assert asked("module", "reload", images["twice"])[0] == 0
    assert Guest.attach(idle_machine.memory()).kernel().functions()[12].name == "twice"
    assert findings(idle_machine) == []


def test_a_kernel_that_knows_no_such_order_is_not_given_one(
    images: dict[str, Path], firmware: Path, capsys: pytest.CaptureFixture[str], launched: Boot
) -> None:
    machine = launched(firmware / "stock" / "field_bare.img", with_disk=False)
    wait_for(lambda: "[serial]" in machine.serial(), "the kernel", SECONDS)
    assert main(["module", "load", str(images["twice"]), machine.name]) == 2
    assert "without the debug interface: it takes no module while it runs" in capsys.readouterr().err
