"""The guest's inference engine, run on the host: tokens, answers and all logits are the reference's, bit by bit."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import tiny_models

from bareflow_gdb.abi import layouts
from bareflow_gdb.build.text_kinds import entries
from bareflow_gdb.model.networks import GuestNetwork
from bareflow_gdb.model.packed_file import PackedFile
from bareflow_gdb.model.packing import pack, read_source

ROOT = Path(__file__).parents[2]
COMMON = "-ffreestanding -fno-builtin -fno-math-errno -ffp-contract=off -nostdlib -static -fuse-ld=lld".split()
TARGETS = {
    "x87, O0": ["-mno-sse", "-mno-mmx", "-O0", "-DLEVEL=O0"],
    "x87, O3": ["-mno-sse", "-mno-mmx", "-O3", "-DLEVEL=O3"],
    "SSE2, vectors": ["-msse2", "-mfpmath=sse", "-O3"],
    "AVX2, vectors": ["-mavx2", "-mfpmath=sse", "-O3"],
}
FULL, STOPPED, NO_ROOM, _, BAD_TEXT = range(5)
TEXTS = (
    "the other there",
    "the  other\n\n the\tthere  ",
    "it's 12 they'll've 'd x1234 ' 's",
    "<|im_start|>the<whole> <|im_end|>",
    "é ü xé 数 字１２ ٣ –… ‖ 😀!!\u00a0 a\u2003b",
)


@dataclass(frozen=True)
class Question:
    text: bytes
    wanted: int = 0
    chat: bool = False


@dataclass(frozen=True)
class Answer:
    end: int
    text: list[int]
    tokens: list[int]
    crc: int


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    # F16 becomes two planes, and a model of it has matrices of every shape.
    tiny_models.write_gguf(folder / "m.gguf", "F16")
    pack(read_source(folder / "m.gguf"), folder / "m.bfm")
    return folder / "m.bfm"


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("build")
    (folder / "text_kinds.inc").write_text("".join(f"{entry}," for entry in entries()))
    return folder


def engine(folder: Path, name: str) -> Path:
    made = folder / "".join(filter(str.isalnum, name))
    own = ("answer", "arena", "network", "packed", "pieces", "vocabulary")
    sources = [ROOT / "firmware/llama" / f"{part}.c" for part in own]
    sources += sorted((ROOT / "firmware/llama/kernels").glob("*.c"))
    sources += [ROOT / "firmware/kernel" / f"{part}.c" for part in ("crc32", "int64", "string")]
    sources.append(ROOT / "tests/support/llama_host.c")
    places = [folder, ROOT / "firmware/llama", ROOT / "firmware/kernel", Path(layouts.__file__).parent]
    words = ["clang-19", "--target=i686-linux-gnu", *TARGETS[name], *COMMON, *(f"-I{place}" for place in places)]
    subprocess.run([*words, *map(str, sources), "-o", str(made)], check=True)
    return made


def asked(program: Path, model: bytes, questions: Sequence[Question]) -> list[Answer]:
    given = struct.pack("<I", len(questions))
    for one in questions:
        given += struct.pack("<III", one.wanted, one.chat, len(one.text)) + one.text + bytes(-len(one.text) % 4)
    given += bytes(-len(given) % 64) + model
    try:
        done = subprocess.run([program], input=given, capture_output=True)
    except OSError as error:
        pytest.skip(f"this host does not run such programs: {error}")
    assert (done.returncode, done.stderr) == (0, b"")
    words = list(struct.unpack(f"<{len(done.stdout) // 4}I", done.stdout))
    found = []
    while words:
        end, text, count, crc = words[:4]
        found.append(Answer(end, words[4 : 4 + text], words[4 + text : 4 + text + count], crc))
        del words[: 4 + text + count]
    return found


def wanted(file: PackedFile, question: Question) -> Answer:
    """By the reference."""
    words = file.vocabulary
    assert words is not None
    ids = words.encode(question.text.decode(), whole=not question.chat)
    if question.chat:
        around = file.chat()
        assert around is not None
        ids = around[0] + ids + around[1]
    network = GuestNetwork(file)
    tokens = list(network.greedy(ids, question.wanted, words.eos))
    return Answer(STOPPED if len(tokens) < question.wanted else FULL, ids, tokens, network.crc)


@pytest.mark.parametrize("name", TARGETS)
def test_the_engine_answers_as_the_reference_does_bit_by_bit(packed: Path, build: Path, name: str) -> None:
    if "AVX2" in name and " avx2 " not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this processor has no AVX2")
    file = PackedFile.open(packed)
    questions = [Question(text.encode()) for text in TEXTS]
    questions += [Question(b"the other", 24), Question(b"the other", 5, chat=True)]
    found = asked(engine(build, name), packed.read_bytes(), questions)
    assert found == [wanted(file, question) for question in questions]


def test_what_cannot_be_answered_ends_so(packed: Path, build: Path) -> None:
    positions = PackedFile.open(packed).model.positions
    questions = [Question(b"a" * 90, 50), Question(b"b" * 200, 1), Question(b""), Question(b"c" * 5000, 1)]
    found = asked(engine(build, "x87, O3"), packed.read_bytes(), questions)
    assert [one.end for one in found] == [NO_ROOM, NO_ROOM, BAD_TEXT, BAD_TEXT]
    # The last token needs no position: nothing comes after it.
    assert len(found[0].tokens) == positions - 90 + 1
    # A text with a byte that is no character is cut there.
    assert asked(engine(build, "x87, O3"), packed.read_bytes(), [Question(b"the\xff\xe2the", 0)])[0].end == FULL
