"""A module image of version 2 can be loaded anywhere, and its tiers agree on the writable data."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import pytest
from guest_code import MIXED, bitcode, compile_c, tier
from i686_program import Calls

from bareflow_gdb.build import module
from bareflow_gdb.build.module import ModuleImage, link_module, read_module, require_same_data
from bareflow_gdb.recompile.refusal import LinkError

CODE, RODATA, DATA = 0x20000, 0x480010, 0x500020


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    folder = tmp_path_factory.mktemp("module")
    payload = bitcode(folder, MIXED)
    return [link_module(tier(folder, payload, level), "mixed", "mixed_main") for level in range(4)]


def load(calls: Calls, image: ModuleImage, code: int = CODE) -> int:
    """What the kernel's loader does; returns the address of the entry."""
    bases = (code, DATA, RODATA)
    areas = [bytearray(image.code), bytearray(image.data.initialised), bytearray(image.rodata)]
    starts = (0, _align(_align(len(image.code)) + len(image.rodata)), _align(len(image.code)))
    for word in image.relocations:
        offset, base = word & 0x3FFFFFFF, bases[word >> 30]
        place = max((i for i in range(3) if starts[i] <= offset), key=lambda i: starts[i])
        at = offset - starts[place]
        (value,) = struct.unpack_from("<I", areas[place], at)
        struct.pack_into("<I", areas[place], at, value + base & 0xFFFFFFFF)
    for base, area in zip(bases, areas, strict=True):
        calls.write(base, bytes(area))
    calls.write(DATA + len(image.data.initialised), bytes(image.data.bss_size))
    return code + image.entry


def _align(size: int) -> int:
    return size + -size % 16


def expected(a: int, b: int, calls: int, table: list[int]) -> tuple[int, int]:
    """MIXED in Python; changes `table`, returns the result and the number of calls."""
    digits, s = [3, 1, 4, 1, 5, 9, 2, 6], 0
    for i in range(a):
        match i % 7:
            case 0:
                calls += 1
                s += calls ^ table[i & 3]
            case 1:
                s ^= digits[i & 7]
            case 2:
                s *= 3
            case 3:
                s -= i
            case 4:
                s += b
            case 5:
                table[i & 3] = s
            case _:
                s += 1
        s = (s + (1 << 31)) % (1 << 32) - (1 << 31)
    return s, calls


@pytest.mark.parametrize("level", range(4))
def test_a_loaded_image_computes_what_its_source_says(images: list[bytes], level: int) -> None:
    calls = Calls()
    entry = load(calls, read_module(images[level]))
    count, table = 0, [10, 20, 30, 40]
    for a, b in [(0, 0), (1, 5), (7, -3), (40, 11), (23, 1 << 30)]:
        result, count = expected(a, b, count, table)
        assert calls.call(entry, a, b) == result


def test_the_tiers_share_one_copy_of_writable_data(images: list[bytes]) -> None:
    assert len({read_module(image).data for image in images}) == 1
    calls = Calls()
    count, table = 0, [10, 20, 30, 40]
    load(calls, read_module(images[0]))
    for level in (0, 1, 3, 2):
        image = read_module(images[level])
        data = calls.read(DATA, 64)
        entry = load(calls, image, CODE + 0x1000 * (level + 1))
        calls.write(DATA, data)  # the area exists once; a later tier does not initialise it again
        result, count = expected(29, level, count, table)
        assert calls.call(entry, 29, level) == result


def test_the_writable_symbols_are_in_the_image_by_name(images: list[bytes]) -> None:
    data = read_module(images[3]).data
    assert [(s.name, s.size) for s in data.symbols] == [("mixed_table", 16), ("mixed_calls", 4)]
    assert struct.unpack("<4i", data.initialised) == (10, 20, 30, 40)


def test_the_image_ends_with_the_sha256_of_the_rest(images: list[bytes]) -> None:
    assert images[0][-32:] == hashlib.sha256(images[0][:-32]).digest()
    with pytest.raises(LinkError, match="SHA-256"):
        read_module(images[0][:60] + b"\xcc" + images[0][61:])


@pytest.mark.parametrize(
    ("source", "flags", "words"),
    [
        ("int g(int); int f(int a, int b) { return g(a) + b; }", [], "undefined symbol g;"),
        ("long long f(long long a, long long b) { return a / b; }", [], "undefined symbol __divdi3;"),
        ("int n; int f(int a, int b) { return n += a; }", ["-fcommon"], "n is a common symbol"),
        ("int n; int f(int a, int b) { return n += a; }", ["-fpic"], "_GLOBAL_OFFSET_TABLE_|R_386_GOT"),
        ("static int n = 7; int f(int a, int b) { return n += a; }", ["-O0"], "without a name"),
        ("int k(int a) { return a; } int (*p)(int) = k; int f(int a, int b) { return p(a); }", [], "pointer into"),
        ('const char *p = "x"; int f(int a, int b) { return *p++; }', [], "pointer into"),
        ("_Thread_local int n; int f(int a, int b) { return n += a; }", [], "start-up|TLS"),
        ("int f(int a, int b) { return a; }", ["--target=x86_64-linux-gnu", "-march=x86-64"], "not an ELF32 i386"),
    ],
)
def test_what_cannot_be_a_module_is_refused_with_a_sentence(
    tmp_path: Path, source: str, flags: list[str], words: str
) -> None:
    data = compile_c(tmp_path, source, "-O1", *flags)
    with pytest.raises(LinkError, match=words) as caught:
        link_module(data, "f", "f")
    assert "\n" not in str(caught.value)


def test_a_pointer_between_writable_data_is_relocated(tmp_path: Path) -> None:
    source = "int box[4] = {5, 6, 7, 8}; int *p = &box[2]; int f(int a, int b) { return *p++ + a + b; }"
    calls = Calls()
    entry = load(calls, read_module(link_module(compile_c(tmp_path, source, "-O2"), "f", "f")))
    assert calls.call(entry, 100, 20) == 127
    assert calls.call(entry, 100, 20) == 128


def test_tiers_that_differ_in_writable_data_are_refused(tmp_path: Path, images: list[bytes]) -> None:
    other = MIXED.replace("int32_t mixed_calls;", "int32_t mixed_calls; int32_t more;")
    with pytest.raises(LinkError, match=r"differs from that of mixed\.O0\.mod.*more\+4"):
        image = link_module(compile_c(tmp_path, other, "-O2"), "mixed", "mixed_main")
        require_same_data(image, images[0], "mixed.O0.mod")


def test_raised_alignment_of_some_variables_does_not_move_the_others(tmp_path: Path) -> None:
    plain, raised = "", "__attribute__((aligned(16)))"
    areas = []
    for first, second in ((plain, plain), (raised, plain), (plain, raised)):
        variables = f"int a1 = 1, a2 = 2; int {first} b1[3] = {{1, 2, 3}}; int c1; int {second} d1, e1;"
        source = f"{variables} int f(int a, int b) {{ return a1 + b1[a & 1] + c1 + d1 + b; }}"
        areas.append(read_module(link_module(compile_c(tmp_path, source, "-O2"), "f", "f")).data)
    assert areas[0] == areas[1] == areas[2]
    assert {symbol.address % 16 for symbol in areas[0].symbols} == {0}


def test_the_order_of_variables_in_an_object_does_not_matter(tmp_path: Path) -> None:
    areas = []
    for variables in ("int b = 2, a = 1; int d, c;", "int c, d, a = 1, b = 2;"):
        source = f"{variables} int f(int x, int y) {{ return a + b + c + d + x + y; }}"
        areas.append(read_module(link_module(compile_c(tmp_path, source, "-O2"), "f", "f")).data)
    assert areas[0] == areas[1]
    assert [symbol.name for symbol in areas[0].symbols] == ["a", "b", "c", "d"]


def test_a_damaged_object_is_refused(tmp_path: Path) -> None:
    data = compile_c(tmp_path, MIXED, "-O2")
    for size in (0, 3, 40, 52, len(data) // 2, len(data) - 5):
        with pytest.raises(LinkError):
            link_module(data[:size], "mixed", "mixed_main")


def test_the_command_writes_the_image_or_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / "code.o", tmp_path / "out" / "mixed.O2.mod"
    compile_c(tmp_path, MIXED, "-O2")
    words = ["--object", str(source), "--name", "mixed", "--output", str(target), "--entry"]
    assert module.main([*words, "nothing"]) == 1
    assert not target.exists()
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert module.main([*words, "mixed_main"]) == 0
    assert read_module(target.read_bytes()).name == "mixed"
