"""`$bf_module`, `$bf_func`, `$bf_pool`, `$bf_calls` in gdb's expressions, with and without the kernel's types."""

from __future__ import annotations

from gdb_harness import KERNEL, Gdb
from machines import Boot

from bareflow_gdb.guest.guest import Guest
from bareflow_gdb.qemu.machine import Machine


def test_they_are_the_guests_records_with_the_kernels_types(gdb: Gdb, idle_machine: Machine) -> None:
    guest = Guest.attach(idle_machine.memory())
    result = gdb.run(
        f"bf attach {idle_machine.name}",
        'printf "calls %u\\n", (unsigned)$bf_module("primes")->call_count',
        'printf "name %s\\n", $bf_module("primes")->name',
        'printf "size %u\\n", $bf_pool("code")->total_size',
        'printf "jit calls %u\\n", (unsigned)$bf_calls("primes")',
        elf=KERNEL,
    )
    module = next(m for m in guest.kernel().modules().modules if m.name == "primes")
    function = next(f for f in guest.kernel().jit().functions if f.name == "primes")
    lines = result.out.splitlines()
    start = lines.index(f"calls {module.calls}")
    assert lines[start : start + 4] == [
        f"calls {module.calls}",
        "name primes",
        "size 262144",
        f"jit calls {function.calls}",
    ]


def test_without_an_elf_they_are_addresses(gdb: Gdb, idle_machine: Machine) -> None:
    guest = Guest.attach(idle_machine.memory())
    result = gdb.run(
        f"bf attach {idle_machine.name}",
        'output/x (unsigned)$bf_func("primes")',
        "echo \\n",
        'output/x (unsigned)$bf_func("primes", "O2")',
        "echo \\n",
        'x/2i $bf_func("primes", "O3")',
        'output/x (unsigned)$bf_pool("DATA")',
    )
    versions = [v for v in guest.kernel().versions() if v.function_name == "primes"]
    second = next(v for v in versions if v.level == 2)
    assert hex(versions[-1].entry) in result.out and hex(second.entry) in result.out
    assert "push" in result.out and "%ebp" in result.out
    assert result.out.rstrip().splitlines()[-1].startswith("0x")


def test_of_two_codes_of_a_tier_the_newer_one_is_meant(gdb: Gdb, booted: Boot) -> None:
    machine = booted()
    result = gdb.run(
        f"bf attach {machine.name}",
        *["bf recompile primes --level 2"] * 2,
        'output/x (unsigned)$bf_func("primes", "O2")',
    )
    second = [v for v in Guest.attach(machine.memory()).kernel().versions() if v.function_name == "primes"][-1]
    assert second.level == 2
    assert f"\n{second.entry:#x}" in result.out


def test_what_is_not_there_is_one_sentence_with_what_is(gdb: Gdb, idle_machine: Machine) -> None:
    result = gdb.run(
        f"bf attach {idle_machine.name}",
        'p $bf_func("nothing")',
        'p $bf_func("primes", "O7")',
        'p $bf_pool("STACK")',
        "p $bf_calls()",
        "p $bf_module(5)",
    )
    errors = result.err.strip().splitlines()
    assert "no function 'nothing' has JIT code; there are: fibonacci, sum, compute, primes" in errors[0]
    assert "'primes@O7' does not name JIT code" in errors[1] and "CODE, DATA, METADATA" in errors[2]
    assert len(errors) == 5 and all("Traceback" not in line for line in errors)


def test_without_a_guest_they_say_so(gdb: Gdb) -> None:
    result = gdb.run('p $bf_calls("primes")')
    assert "$bf_calls: gdb is not connected to a guest" in result.err


def test_on_a_stock_kernel_they_find_the_records_too(gdb: Gdb, ended: Boot) -> None:
    machine = ended("stock")
    guest = Guest.attach(machine.memory())
    result = gdb.run(
        f"bf attach {machine.name}",
        "set print symbol off",
        'p $bf_func("fibonacci", "O1")',
        'p $bf_calls("fibonacci")',
        'p $bf_calls("primes")',
        'x/s $bf_module("primes")',
        'x/1xw $bf_pool("CODE")',
        "bf break jit:fibonacci",
        "bf watch fibonacci",
        "bf break-swap",
        "maint info breakpoints",
        "delete",
        "bf modules",
        "echo ====\\n",
        "bf identify 0x7c00",
        "echo ====\\n",
        "bf status",
        "maint info breakpoints",
    )
    function = next(f for f in guest.kernel().jit().functions if f.name == "fibonacci")
    assert f"$1 = (void *) {function.level_codes[1]:#x}" in result.out
    assert f"$2 = {function.calls}" in result.out and '"primes"' in result.out
    module = next(m for m in guest.kernel().modules().modules if m.name == "primes")
    assert f"$3 = {module.calls}\n" in result.out and module.calls, "no JIT function, but a module"
    assert f"0x{guest.kernel().pools().pools[0].base:08x}" in result.out
    assert "breakpoint 1 follows fibonacci@jit: set" in result.out
    _, place, _ = result.out.split("====\n")
    assert "0x00007c00" in place and "(the " not in place, "that was another question"
    assert "watchpoints 3 to 5 stop after each swap of any function" in result.out
    assert result.out.count(f"*(unsigned int *) {function.slot:#x}") >= 3, "the user's and the follower's"
    assert "No breakpoints" in result.out.split("Status")[1]


def test_module_records_of_an_older_generation_are_found_by_their_size(gdb: Gdb, ended: Boot) -> None:
    machine = ended("stock76")
    names = [module.name for module in Guest.attach(machine.memory()).kernel().modules().modules]
    result = gdb.run(f"bf attach {machine.name}", *[f'x/s $bf_module("{name}")' for name in names])
    assert [line.split('"')[1] for line in result.out.splitlines() if ':\t"' in line] == names
    assert len(names) > 1
