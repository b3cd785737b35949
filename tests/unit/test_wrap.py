"""Bitcode is wrapped with a 128-byte header, and refused when not every level could be made of it."""

from __future__ import annotations

from pathlib import Path

import pytest
from guest_code import MIXED, bitcode

from bareflow_gdb.abi import layouts
from bareflow_gdb.build import wrap
from bareflow_gdb.errors import UsageError
from bareflow_gdb.recompile.refusal import BadBitcode


@pytest.fixture(scope="module")
def payload(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return bitcode(tmp_path_factory.mktemp("wrap"), MIXED)


def test_the_header_is_128_bytes_and_tells_name_entry_and_size(payload: bytes) -> None:
    wrapped = wrap.wrap(payload, "mixed", "mixed_main", level=1, version=3)
    header = layouts.unpack("bitcode_header_t", wrapped)
    assert wrapped[:4] == b"CBLL"
    assert wrapped[128:] == payload
    assert header.module_name == b"mixed".ljust(32, b"\0")
    assert header.entry_name == b"mixed_main".ljust(64, b"\0")
    assert (header.bitcode_size, header.version, header.opt_level) == (len(payload), 3, 1)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda p: p[:0], "not LLVM bitcode"),
        (lambda p: b"\x7fELF" + p[4:], "not LLVM bitcode"),
        (lambda p: p[: len(p) // 2], "LLVM refuses"),
        (lambda p: p + bytes(1 << 20), "more than the limit"),
    ],
)
def test_what_is_not_whole_bitcode_is_refused(payload: bytes, damage, words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(BadBitcode, match=words):
        wrap.wrap(damage(payload), "mixed", "mixed_main")


def test_an_entry_that_is_not_there_is_named(payload: bytes) -> None:
    with pytest.raises(BadBitcode, match=r"no function other_main, only count, mixed_main"):
        wrap.wrap(payload, "mixed", "other_main")


@pytest.mark.parametrize(
    ("source", "flags", "words"),
    [
        ("int f(int a, int b) { return a + b; }", ["-O0"], "optnone"),
        ("int f(int a, int b) { return a + b; }", ["-fomit-frame-pointer"], "frame pointer"),
        ("int f(int a, int b) { return a + b; }", ["--target=x86_64-linux-gnu", "-march=x86-64"], "x86_64"),
        ("static int n; int f(int a, int b) { return n += a + b; }", [], "n is static"),
        ("int f(int a, int b) { static int n = 5; return n += a + b; }", [], r"f\.n is static"),
    ],
)
def test_what_would_not_survive_every_level_is_refused(
    tmp_path: Path, source: str, flags: list[str], words: str
) -> None:
    with pytest.raises(BadBitcode, match=words):
        wrap.wrap(bitcode(tmp_path, source, *flags), "f", "f")


def test_static_read_only_data_is_fine(tmp_path: Path) -> None:
    source = "static const int k[3] = {1, 2, 3}; int f(int a, int b) { return k[a % 3] + b; }"
    assert wrap.wrap(bitcode(tmp_path, source), "f", "f")


def test_a_name_that_does_not_fit_is_refused(payload: bytes) -> None:
    with pytest.raises(UsageError, match="at most 31 bytes"):
        wrap.wrap(payload, "m" * 32, "mixed_main")


def test_a_refused_input_leaves_the_old_output_alone(
    tmp_path: Path, payload: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "m.bc", tmp_path / "m.wrapped"
    target.write_bytes(b"old")
    source.write_bytes(payload[:100])
    words = ["--input", str(source), "--output", str(target), "--name", "mixed", "--entry", "mixed_main"]
    assert wrap.main(words) == 1
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    assert len(capsys.readouterr().err.splitlines()) == 1
    source.write_bytes(payload)
    assert wrap.main(words) == 0
    assert target.read_bytes()[128:] == payload
