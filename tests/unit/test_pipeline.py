"""A textual pipeline is LLVM's, or one sentence; each pass that can be named exists and can be run."""

from __future__ import annotations

import llvmlite.binding as llvm
import pytest
from guest_code import MIXED, bitcode

from bareflow_gdb.errors import UsageError
from bareflow_gdb.recompile.compiler import Compiler
from bareflow_gdb.recompile.objects import read_object
from bareflow_gdb.recompile.pipeline import MOST_PASSES, PASSES, parse
from bareflow_gdb.recompile.recipe import CPUS, RUNGS, Recipe
from bareflow_gdb.recompile.refusal import BadBitcode, NotExecutable


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("sroa", ["sroa"]),
        ("sroa,instcombine, simplifycfg", ["sroa", "instcombine", "simplifycfg"]),
        ("default<O2>", [2]),
        ("module(function(sroa,loop(loop-rotate)),globaldce),default<O1>", ["sroa", "loop-rotate", "globaldce", 1]),
    ],
)
def test_a_pipeline_is_its_passes_in_order(text: str, passes: list[str | int]) -> None:
    assert parse(text) == passes


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "wrong at its end"),
        ("sroa,", "wrong at its end"),
        (",sroa", "wrong at ',sroa'"),
        ("sroa instcombine", "wrong at ' instcombine'"),
        ("function(sroa", "wrong at its end"),
        ("sroa)", r"wrong at '\)'"),
        ("function()", r"wrong at '\)'"),
        ("(sroa)", r"wrong at '\(sroa\)'"),
        ("sora", "did you mean sroa"),
        ("default<O4>", "default<O4> is not a pass"),
        ("print<loops>", "is not a pass"),
        ("\x1b[31m", "wrong at"),
        (",".join(["sroa"] * (MOST_PASSES + 1)), "has 65 passes"),
        ("sroa," * 2000, "4,096 characters"),
    ],
)
def test_a_wrong_one_is_one_sentence(text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        parse(text)
    assert "\n" not in str(caught.value) and "\x1b" not in str(caught.value)


def test_every_name_is_a_pass_of_llvmlite() -> None:
    manager = llvm.create_new_module_pass_manager()
    for name in PASSES.values():
        getattr(manager, f"add_{name}_pass")()


@pytest.fixture(scope="module")
def payload(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return bitcode(tmp_path_factory.mktemp("pipeline"), MIXED)


def code(compiler: Compiler, payload: bytes, level: int, **way: str) -> bytes:
    compiler.begin(payload, "mixed_main", level, Recipe(**way))
    while (made := compiler.poll(1.0)) is None:
        pass
    return next(piece.data for piece in read_object(made.data).pieces if piece.name == ".text")


def test_passes_take_the_place_of_the_levels_own(payload: bytes) -> None:
    with Compiler() as compiler:
        usual = code(compiler, payload, 2)
        assert code(compiler, payload, 2, passes="default<O2>") == usual
        assert code(compiler, payload, 2, passes="function(sroa),dce") != usual
        assert code(compiler, payload, 2, passes=",".join(PASSES)) != usual
        with pytest.raises(BadBitcode, match="did you mean sroa"):
            code(compiler, payload, 2, passes="sora")
        assert code(compiler, payload, 2) == usual, "the next one is compiled as ever"


def test_another_cpu_lays_the_code_out_differently(payload: bytes) -> None:
    with Compiler() as compiler:
        made = {code(compiler, payload, 3, cpu=Recipe(cpu).on(RUNGS).cpu) for cpu in CPUS}
        assert len(made) > 1


def test_a_cpu_brings_its_vectors_where_the_guest_has_them() -> None:
    assert [Recipe(cpu).on(()).vectors for cpu in ("i686", "core2", "guest")] == [(), (), ()]
    assert Recipe("guest").on(RUNGS[:3]).vectors == RUNGS[:3]
    # What is missing in between ends it, whatever a guest says.
    assert Recipe("guest").on(("sse", "avx2")).vectors == ("sse",)
    assert Recipe("haswell").on(RUNGS).vectors == RUNGS
    with pytest.raises(NotExecutable, match="the guest has no vector instructions and nehalem needs SSE, SSE2"):
        Recipe("nehalem").on(())
