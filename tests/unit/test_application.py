"""An application on the kernel library answers with the tables that its root descriptor leads to, and only those."""

from __future__ import annotations

import pytest
from asking import record_of
from fake_guest import FakeGuest

from bareflow_gdb.abi import layouts
from bareflow_gdb.errors import BadData
from bareflow_gdb.guest.base.absent import NONE, Absent, if_it_has
from bareflow_gdb.guest.guest import Guest

APPLICATION = layouts.const("BF_VARIANT_UNIKERNEL")
TABLES = ("module_manager", "function_profiler", "adaptive_jit", "function_table", "version_table", "pools", "cache")


def guest(variant: int = APPLICATION, **root: int) -> Guest:
    fake = FakeGuest()
    fake.root |= {"variant": variant, **root}
    return Guest.attach(fake.build())


def without_tables() -> Guest:
    """As applications were before interface 1.2."""
    return guest(abi_minor=1, **dict.fromkeys((*TABLES, "block_table", "mailbox", "version_causes"), 0))


@pytest.mark.parametrize("question", ["jit", "swaps", "modules", "pools", "profile"])
def test_what_it_never_had_is_one_of_the_four_answers(question: str) -> None:
    with pytest.raises(
        Absent, match=r"this kernel has no .*: it is an application on the kernel library; `profile`"
    ) as e:
        record_of(without_tables(), question)
    assert e.value.reason == NONE


def test_a_pointer_that_cannot_be_one_is_damage_and_no_part_that_it_never_had() -> None:
    with pytest.raises(BadData, match="this kernel gives no pools: its root descriptor has no valid pointer") as damage:
        record_of(guest(pools=0xFFFFFFF0), "pools")
    assert not isinstance(damage.value, Absent)


def test_a_kernel_without_a_part_says_so_too() -> None:
    with pytest.raises(Absent, match="this kernel has no modules: its root descriptor leads to none"):
        record_of(guest(variant=layouts.const("BF_VARIANT_KERNEL"), module_manager=0), "modules")


def test_a_part_that_it_has_is_answered_as_the_kernels_is() -> None:
    asked = guest(module_manager=0)
    for question in ("jit", "swaps", "profile"):
        assert record_of(asked, question) == record_of(guest(variant=0), question)


def test_where_the_application_asks_no_threshold_is_waited_for() -> None:
    record = record_of(guest(asks=layouts.const("BF_ASKS_APPLICATION")), "jit")
    assert record.asks == "application"
    assert {function.next_threshold for function in record.functions} == {None}
    assert record_of(guest(), "jit").asks == "threshold"


def test_only_a_part_that_never_was_is_gone_on_without() -> None:
    assert if_it_has(without_tables().kernel().modules) is None
    with pytest.raises(BadData):
        if_it_has(guest(module_manager=0xFFFFFFF0).kernel().modules)


def halted(variant: int, idle: int) -> Guest:
    fake = FakeGuest()
    fake.root["variant"] = variant
    tsc = list(fake.boot["stage_tsc"])
    tsc[layouts.const("BF_STAGE_IDLE")], tsc[layouts.const("BF_STAGE_HALTED")] = idle, 15_000_000
    fake.boot |= {"stage": layouts.const("BF_STAGE_HALTED"), "stage_tsc": tuple(tsc)}
    return Guest.attach(fake.build())


def test_an_application_that_has_returned_has_halted_in_order() -> None:
    boot = record_of(halted(APPLICATION, 14_000_000), "boot")
    assert (boot.stage, boot.done, boot.ok, boot.problems) == ("halted", True, True, ())
    assert boot.stages[-1].meaning == "halted, as an application is that is done"


@pytest.mark.parametrize(("variant", "idle"), [(APPLICATION, 0), (0, 14_000_000), (0, 0)])
def test_whoever_else_has_halted_has_a_problem(variant: int, idle: int) -> None:
    boot = record_of(halted(variant, idle), "boot")
    assert (boot.stage, boot.done, boot.ok) == ("halted", False, False)
    assert any("stopped for good" in problem for problem in boot.problems)
