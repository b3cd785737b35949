"""The guest's inference engine, run on the host: tokens, answers and all logits are the reference's, bit by bit."""

from __future__ import annotations

import struct
import subprocess
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from llama import Answer, Question, packed_model, reference, text_tokens
from llama_flags import AS_THE_GUEST

from bareflow_gdb.abi import layouts
from bareflow_gdb.build.text_kinds import entries
from bareflow_gdb.guest.model.conversation import Sampling
from bareflow_gdb.model.packed import head_bytes, parts_claimed
from bareflow_gdb.model.packed_file import PackedFile

ROOT = Path(__file__).parents[2]
TARGETS = {
    "x87, O0": ["-mno-sse", "-mno-mmx", "-O0", "-DLEVEL=O0"],
    "x87, O3": ["-mno-sse", "-mno-mmx", "-O3", "-DLEVEL=O3"],
    "SSE2, vectors": ["-msse2", "-mfpmath=sse", "-O3"],
    "AVX2, vectors": ["-mavx2", "-mfpmath=sse", "-O3"],
}
FULL, NO_ROOM, BAD_TEXT = (layouts.const(f"BF_END_{name}") for name in ("FULL", "NO_ROOM", "BAD_TEXT"))
TEXTS = (
    "the other there",
    "the  other\n\n the\tthere  ",
    "it's 12 they'll've 'd x1234 ' 's",
    "<|im_start|>the<whole> <|im_end|>",
    "é ü xé 数 字\uff11\uff12 ٣ \u2013… ‖ 😀!!\u00a0 a\u2003b",
)


SAMPLINGS = [
    Sampling.of(temperature, top_p, seed)
    for temperature, top_p, seed in ((0.8, 1, 1), (0.8, 1, 2), (1, 0.9, 3), (100, 1, 4), (3, 0.001, 5), (0.00002, 1, 6))
]


class Said(NamedTuple):
    end: int
    text: list[int]
    answer: Answer


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packed_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("build")
    (folder / "text_kinds.inc").write_text("".join(f"{entry}," for entry in entries()))
    return folder


def engine(folder: Path, name: str) -> Path:
    """The program; built once."""
    made = folder / "".join(filter(str.isalnum, name))
    if made.exists():
        return made
    own = ("answer", "arena", "network", "packed", "pieces", "vocabulary")
    sources = [ROOT / "firmware/llama" / f"{part}.c" for part in own]
    sources += sorted((ROOT / "firmware/llama/kernels").glob("*.c"))
    sources += [ROOT / "firmware/kernel" / f"{part}.c" for part in ("crc32", "int64", "string")]
    sources.append(ROOT / "tests/support/llama_host.c")
    places = [folder, ROOT / "firmware/llama", ROOT / "firmware/kernel", Path(layouts.__file__).parent]
    words = ["clang-19", "--target=i686-linux-gnu", *TARGETS[name], *AS_THE_GUEST, *(f"-I{place}" for place in places)]
    subprocess.run([*words, *map(str, sources), "-o", str(made)], check=True)
    return made


def run(program: Path, model: bytes, questions: Sequence[Question]) -> subprocess.CompletedProcess[bytes]:
    given = struct.pack("<I", len(questions))
    for one in questions:
        text = one.text.encode(errors="surrogateescape")
        how = one.sampling or Sampling(0, 0, 0)
        given += (
            struct.pack("<6I", one.tokens, one.chat, how.temperature, how.top_p, how.seed, len(text))
            + text
            + bytes(-len(text) % 4)
        )
    given += bytes(-len(given) % 64) + model
    try:
        return subprocess.run([program], input=given, capture_output=True)
    except OSError as error:
        pytest.skip(f"this host does not run such programs: {error}")


def asked(program: Path, model: bytes, questions: Sequence[Question]) -> list[Said]:
    done = run(program, model, questions)
    assert (done.returncode, done.stderr) == (0, b"")
    words = list(struct.unpack(f"<{len(done.stdout) // 4}I", done.stdout))
    found = []
    while words:
        end, text, count, crc = words[:4]
        found.append(Said(end, words[4 : 4 + text], Answer(words[4 + text : 4 + text + count], crc)))
        del words[: 4 + text + count]
    return found


@pytest.mark.parametrize("name", TARGETS)
def test_the_engine_answers_as_the_reference_does_bit_by_bit(packed: Path, build: Path, name: str) -> None:
    if "AVX2" in name and " avx2 " not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this processor has no AVX2")
    file = PackedFile.open(packed)
    questions = [*map(Question, TEXTS), Question("the other", 24), Question("the other", 5, chat=True)]
    questions += [Question("the other", 24, sampling=how) for how in SAMPLINGS]
    found = asked(engine(build, name), packed.read_bytes(), questions)
    assert found == [Said(FULL, text_tokens(file, one), reference(file, one)) for one in questions]


def test_what_is_drawn_differs_by_seed_and_temperature(packed: Path) -> None:
    file = PackedFile.open(packed)
    drawn = [reference(file, Question("the other", 24, sampling=how)).tokens for how in SAMPLINGS]
    likeliest = reference(file, Question("the other", 24)).tokens
    assert drawn[0] != drawn[1] and drawn[3] not in drawn[:3], "other numbers give other tokens"
    # So few tokens, or so cold, that only the likeliest is left.
    assert drawn[4] == drawn[5] == likeliest != drawn[0]


def test_what_cannot_be_answered_ends_so(packed: Path, build: Path) -> None:
    positions = PackedFile.open(packed).model.positions
    questions = [Question("a" * 90, 50), Question("b" * 200, 1), Question(""), Question("c" * 5000, 1)]
    # What is no character is cut out.
    questions.append(Question("the\udcff\udce2the"))
    found = asked(engine(build, "x87, O3"), packed.read_bytes(), questions)
    assert [one.end for one in found] == [NO_ROOM, NO_ROOM, BAD_TEXT, BAD_TEXT, FULL]
    # The last token needs no position: nothing comes after it.
    assert len(found[0].answer.tokens) == positions - 90 + 1


def test_a_damaged_model_is_refused_in_words(packed: Path, build: Path) -> None:
    whole = packed.read_bytes()
    part = PackedFile.open(packed).model.parts[9]
    header = partial(layouts.offset, "bf_model_header")
    first = layouts.size("bf_model_header")
    cases = [
        (b"nothing at all".ljust(4096, b"\0"), "there is no packed model"),
        (changed(whole, header("version"), 2), "it is packed in another version; pack it again"),
        (whole[:-64], "it does not fit into memory; give the machine more (-m)"),
        (changed(whole, header("parts"), 70_000), "its head is damaged; pack it again"),
        (changed(whole, header("dim"), 128), "its head differs from its CRC; pack it again"),
        (right(changed(whole, header("dim"), 128)), "its tensors are not those that its sizes ask for; pack it again"),
        (right(changed(whole, header("heads"), 3)), "its head is damaged; pack it again"),
        (right(changed(whole, header("layers"), 1 << 31)), "its head is damaged; pack it again"),
        (
            right(changed(whole, first + layouts.offset("bf_model_part", "offset"), 1 << 30)),
            "its head is damaged; pack it again",
        ),
        (changed(whole, part.offset + 8, 0x12345678), "a part differs from its CRC"),
    ]
    for model, why in cases:
        done = run(engine(build, "x87, O3"), model, [Question("the")])
        assert (done.returncode, done.stderr.decode()) == (1, why)


def changed(model: bytes, at: int, word: int) -> bytes:
    return model[:at] + word.to_bytes(4, "little") + model[at + 4 :]


def right(model: bytes) -> bytes:
    """With the head's CRC made anew."""
    at, size = layouts.offset("bf_model_header", "crc"), head_bytes(parts_claimed(model))
    return changed(model, at, zlib.crc32(changed(model, at, 0)[:size]))
