"""A file becomes bitcode as the firmware's modules do; what clang says is kept, what is no source is one sentence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from guest_code import MODULES, bitcode

from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.recompile.compiler import Compiler
from bareflow_gdb.recompile.source import CLANGS, FLAGS, DoesNotCompile, read_source


def test_the_flags_are_those_of_the_firmwares_modules() -> None:
    text = (MODULES / "modules.mk").read_text()
    listed = text[text.index("MODULE_BITCODE_FLAGS :=") :].split("\n\n")[0].split("# The level")[0]
    make = (MODULES.parent / "Makefile").read_text()
    target = next(line for line in make.splitlines() if line.startswith("TARGET := ")).partition(" := ")[2]
    for name, value in (("$(TARGET)", target), ("$(abspath ..)", ""), ("\\\n", " ")):
        listed = listed.replace(name, value)
    wanted = listed.partition(":=")[2].split()
    kept = [flag for flag in wanted if flag != "-Werror" and not flag.startswith("-ffile-prefix-map")]
    assert sorted(kept) == sorted(FLAGS)


def test_c_text_is_compiled_and_its_warnings_are_told(tmp_path: Path) -> None:
    path = tmp_path / "with space.c"
    path.write_text('#include "add.h"\nint add_main(int a, int b) { int unused; return ADD(a, b); }\n')
    (tmp_path / "add.h").write_text("#define ADD(a, b) ((a) + (b))\n")
    source, said = read_source(path, "add_main")
    assert source.entry == "add_main"
    assert any("warning: unused variable" in line for line in said)
    with Compiler() as compiler:
        assert compiler.compile(source.payload, "add_main", 3).data


def test_what_clang_refuses_is_told_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "wrong.c"
    path.write_text("int f(int a, int b) { return a + c; }\n")
    with pytest.raises(DoesNotCompile, match=r"wrong\.c:1:34: error: use of undeclared") as caught:
        read_source(path)
    assert len(caught.value.lines) > 2
    assert "\n" not in str(caught.value)


def test_bitcode_is_taken_as_it_is(tmp_path: Path, firmware: Path) -> None:
    payload = bitcode(tmp_path, "int f(int a, int b) { return a + b; }")
    (tmp_path / "f.bc").write_bytes(payload)
    assert read_source(tmp_path / "f.bc")[0].payload == payload
    source, _ = read_source(firmware / "modules" / "primes.bc.wrapped")
    assert (source.entry, source.payload[:4]) == ("primes_main", b"BC\xc0\xde")


def test_what_is_no_source_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    (tmp_path / "folder.c").mkdir()
    os.mkfifo(tmp_path / "pipe.c")
    for name in ("text", "folder.c", "pipe.c", "nothing.c"):
        with pytest.raises(BareflowError) as caught:
            read_source(tmp_path / name)
        assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="neither C text"):
        read_source(tmp_path / "text")


def test_without_clang_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f.c").write_text("int f(int a, int b) { return a + b; }")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BareflowError, match=f"apt-get install {CLANGS[0]}"):
        read_source(tmp_path / "f.c")
