"""Bitcode behind an entry that counts its arguments, or guards a version for some of them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bareflow_gdb.errors import BadData
from bareflow_gdb.pgo.arguments import Constants
from bareflow_gdb.pgo.entries import counting, guarded
from bareflow_gdb.recompile.source import read_source, run_clang
from bareflow_gdb.recompile.wrapped import Wrapped

# It calls itself, its name is part of another one's and stands in a text.
SOURCE = """
int deep_main_again(int a, int b);
const char *said = "@deep_main(";
__attribute__((visibility("hidden"))) int deep_main(int a, int b);
int deep_main(int a, int b) {
    return a <= 0 ? b : deep_main(a - 1, b) + deep_main_again(a, said[0]);
}
int deep_main_again(int a, int b) {
    return a * b;
}
"""


@pytest.fixture(scope="module")
def bitcode(tmp_path_factory: pytest.TempPathFactory) -> Wrapped:
    path = tmp_path_factory.mktemp("deep") / "deep.c"
    path.write_text(SOURCE)
    return Wrapped("deep_main", read_source(path)[0].payload)


def text_of(payload: bytes, folder: Path, *flags: str) -> str:
    path = folder / "made.bc"
    path.write_bytes(payload)
    return run_clang(path, ["--target=i686-unknown-none-elf", "-S", "-emit-llvm", *flags])[0].decode()


def body_of(text: str, function: str) -> str:
    found = re.search(rf"^define [^\n]*@{function}\(.*?^}}", text, re.MULTILINE | re.DOTALL)
    assert found is not None, text
    return found[0]


def test_the_function_is_the_inner_one_of_itself_and_nothing_else_is_renamed(bitcode: Wrapped, tmp_path: Path) -> None:
    text = text_of(guarded(bitcode, Constants(3, None, 1.0)), tmp_path, "-Xclang", "-disable-llvm-passes")
    inner = body_of(text, "bf_inner_deep_main")
    assert inner.startswith("define internal ") and "hidden" not in inner.splitlines()[0]
    assert "call i32 @bf_inner_deep_main(" in inner and "call i32 @deep_main_again(" in inner
    entry = body_of(text, "deep_main")
    assert "icmp eq i32 %a, 3" in entry and "icmp eq i32 %b, %b" in entry
    assert re.search(r"call i32 @bf_inner_deep_main\(i32 3, i32 %b\)", entry)
    assert 'c"@deep_main(\\00"' in text and "define dso_local i32 @deep_main_again(" in text


def test_behind_the_guard_the_arguments_are_constants(bitcode: Wrapped, tmp_path: Path) -> None:
    times = Wrapped("deep_main_again", bitcode.payload)
    entry = body_of(text_of(guarded(times, Constants(-4, 9, 1.0)), tmp_path, "-O2"), "deep_main_again")
    assert re.search(r"icmp eq i32 %a, -4", entry) and re.search(r"icmp eq i32 %b, 9", entry)
    assert "-36" in entry, entry


def test_counting_leaves_what_it_does_and_adds_a_table(bitcode: Wrapped, tmp_path: Path) -> None:
    text = text_of(counting(bitcode), tmp_path, "-Xclang", "-disable-llvm-passes")
    assert 'section ".bf_counters"' in text
    assert "ret i32 %result" in body_of(text, "deep_main")


def test_bitcode_without_such_an_entry_is_refused(bitcode: Wrapped) -> None:
    with pytest.raises(BadData, match="does not define other_main in a way that is known here"):
        counting(Wrapped("other_main", bitcode.payload))
    again = Wrapped("deep_main", counting(bitcode))
    with pytest.raises(BadData, match="does not define deep_main in a way that is known here"):
        counting(again)
