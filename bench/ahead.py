"""How fast is the guest that compiles itself beside engines that were compiled ahead of time, in the same emulator?

Three peers, each the same unikernel with other code for its kernels, and never recompiled: the same source with the
flags that suit this CPU best, and a plain int8 engine (bench/int8) for i686 and with AVX2. All guests are there at the
same time and answer the same question in turn, so that the host's other work is in all of them.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest.model.inference import Inference
from bench.inference import FIRST, LAST, MODELS, MOST_ANSWERS, Answering, answering, speeds
from bench.row import Row, row

ROOT = Path(__file__).resolve().parent.parent
INT8 = ROOT / "bench/int8"
TURNS = 3
INT8_MIB = 192
"""Its weights of SmolLM2 are there twice: as nibbles, and as bytes with a scale for 32 of them (152 MB)."""
LARGE_TOKENS = 8
"""Of an answer in a turn."""


@dataclass(frozen=True)
class Peer:
    """An engine that is compiled ahead of time."""

    name: str
    flags: str
    kernels: Path | None
    """Files that take the place of kernels; None = the same source."""
    goal: float
    """How many times as fast the guest that compiles itself has to be, with SmolLM2."""
    told: str


PEERS = (
    Peer("same", "-O3 -march=haswell -mno-implicit-float", None, 0.95, "same source, -O3 -march=haswell"),
    Peer("int8_i686", "-O3 -march=i686 -mno-sse -mno-mmx", INT8, 7.0, "int8, -O3 -march=i686"),
    Peer("int8_avx2", "-O3 -march=haswell -ffast-math", INT8, 4.0, "int8, -O3 -march=haswell -ffast-math"),
)


def measure(image: Path) -> list[Row]:
    """For each model and peer NAME_over_PEER: how many times its tokens a second; peer_value are the peer's.

    And NAME_agrees_PEER: how many of the answer's first tokens are the same ones (the int8 engine rounds otherwise).
    """
    rows: list[Row] = []
    with TemporaryDirectory(prefix="bf-ahead-") as folder:
        images = {peer.name: build(peer, Path(folder) / peer.name) for peer in PEERS}
        for name, model, tokens in MODELS:
            if model.is_file():
                large = name == "smollm2"
                rows += _of(name, image.parent / "llama.img", images, model, LARGE_TOKENS if large else tokens, large)
    return rows


def build(peer: Peer, out: Path) -> Path:
    """The boot image of a peer. Raises BareflowError."""
    words = ["make", "-s", "-C", str(ROOT / "firmware"), "llama", f"OUT={out}", f"PYTHON={sys.executable}"]
    words += [f"AHEAD={peer.flags}", f"AHEAD_FROM={peer.kernels or ''}"]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode:
        raise BareflowError(f"{peer.name} was not built: {done.stderr.decode('utf-8', 'replace').strip()[:300]}")
    return out / "llama.img"


def _of(name: str, own: Path, images: Mapping[str, Path], model: Path, tokens: int, large: bool) -> list[Row]:
    with _guests(own, images, model) as guests:
        for label, guest in guests.items():
            _warm(label, guest, tokens)
        answers: dict[str, list[Inference]] = {label: [] for label in guests}
        for _ in range(TURNS):
            for label, guest in guests.items():
                answers[label].append(guest.answer(tokens))
    ours = _speed(answers["own"], LAST)
    rows: list[Row] = []
    for peer in PEERS:
        theirs = _speed(answers[peer.name], FIRST)
        goal = peer.goal if large else None
        rows.append(row(f"{name}_over_{peer.name}", ours / theirs, "x", goal, "higher", peer.told, theirs))
        agree = _agree(answers["own"][0].answer_tokens, answers[peer.name][0].answer_tokens)
        rows.append(row(f"{name}_agrees_{peer.name}", agree, "tokens", peer="of", peer_value=tokens))
    return rows


@contextmanager
def _guests(own: Path, images: Mapping[str, Path], model: Path) -> Iterator[dict[str, Answering]]:
    with ExitStack() as stack:
        guests = {"own": stack.enter_context(answering(own, model, "max"))}
        for peer in PEERS:
            more = INT8_MIB if peer.kernels is not None else 0
            guests[peer.name] = stack.enter_context(
                answering(images[peer.name], model, "max", compiles=False, more_mib=more)
            )
        yield guests


def _warm(label: str, guest: Answering, tokens: int) -> None:
    """Until it is as fast as it gets; an int8 engine converts its weights meanwhile."""
    for _ in range(MOST_ANSWERS):
        found = set(speeds(guest.answer(tokens)))
        if found == ({LAST} if label == "own" else {FIRST}):
            return
    raise BareflowError(f"the guest {label} still changes its code after {MOST_ANSWERS} answers: {', '.join(found)}")


def _speed(answers: list[Inference], tier: str) -> float:
    return median(speeds(answer)[tier] for answer in answers)


def _agree(ours: tuple[int, ...], theirs: tuple[int, ...]) -> int:
    return next((n for n, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), len(ours))
