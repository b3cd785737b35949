"""How was the small model made? `python -m models.small.train --out FOLDER` learns it again.

The network is the one of bareflow_gdb/model/network.py, written for torch; its weights bear the names of GGUF. The last
part of the training rounds the matrices of the feed to the 4 bits that they are stored in, so that the weights learn to
live with it. Training that was interrupted goes on at its last checkpoint, with the same result.
"""

from __future__ import annotations

import argparse
import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from bareflow_gdb.model.dims import is_vector, layer_tensor
from bareflow_gdb.model.vocabulary import Vocabulary
from models.small import corpus, tokens
from models.small.settings import (
    BATCH,
    DIMS,
    FALLING,
    LEARNT_TEXTS,
    OTHER_SEED,
    OTHER_TEXTS,
    RATE,
    SEED,
    STEPS,
    TEXTS,
    WARM_UP,
)
from models.small.to_gguf import is_nibbles, write_gguf

_TOLD, _MEASURED, _KEPT = 50, 300, 100
"""Steps from one line of the log to the next, from one validation, from one checkpoint."""

Weights = dict[str, Tensor]


@dataclass(frozen=True)
class Text:
    """A stream of tokens, and where in it a text begins."""

    ids: Tensor
    starts: Tensor

    @classmethod
    def of(cls, words: Vocabulary, seed: int, count: int) -> Text:
        ids = torch.tensor(list(tokens.encoded(words, corpus.texts(seed, count))))
        starts = (ids[: -DIMS.context - 1] == words.bos).nonzero()[:, 0]
        return cls(ids, starts)

    def rows(self, which: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Rows that begin with a text, and what follows each of their tokens."""
        places = self.starts[which][:, None] + torch.arange(DIMS.context + 1)
        rows = self.ids[places]
        return rows[:, :-1], rows[:, 1:]


def begun() -> Weights:
    """Weights to begin with; what leads back into the stream is smaller, the more layers there are."""
    chance = torch.Generator().manual_seed(SEED)
    made = {}
    for name, shape in DIMS.shapes().items():
        if is_vector(name):
            made[name] = torch.ones(shape[1])
            continue
        inner = math.sqrt(2 * DIMS.layers) if "attn_output" in name or "ffn_down" in name else 1.0
        made[name] = torch.randn(shape, generator=chance) * (0.02 if "embd" in name else shape[1] ** -0.5 / inner)
    return {name: weight.requires_grad_() for name, weight in made.items()}


def turns() -> Tensor:
    """Cosine and sine of each position and pair."""
    pairs = torch.arange(0, DIMS.head_size, 2) / DIMS.head_size
    angles = torch.arange(DIMS.context)[:, None] * DIMS.rope_base**-pairs
    return torch.stack([angles.cos(), angles.sin()])


_TURNS = turns()


def _turned(x: Tensor) -> Tensor:
    """Neighbours turned by the angle of their position; x is [rows, heads, positions, values]."""
    cosine, sine = _TURNS[:, : x.shape[-2]]
    left, right = x[..., 0::2], x[..., 1::2]
    return torch.stack([left * cosine - right * sine, left * sine + right * cosine], dim=-1).flatten(-2)


def logits(weights: Weights, ids: Tensor) -> Tensor:
    """After each token of each row, [rows, positions, vocabulary]."""

    def norm(name: str, x: Tensor) -> Tensor:
        return functional.rms_norm(x, (DIMS.dim,), weights[name], DIMS.epsilon)

    x = weights["token_embd.weight"][ids]
    for layer in range(DIMS.layers):
        w = {name: weights[layer_tensor(layer, name)] for name in ("attn_q", "attn_k", "attn_v", "attn_output")}
        normed = norm(layer_tensor(layer, "attn_norm"), x)
        query, key, value = (
            (normed @ w[name].T).unflatten(-1, (-1, DIMS.head_size)).transpose(1, 2) for name in list(w)[:3]
        )
        mixed = functional.scaled_dot_product_attention(
            _turned(query), _turned(key), value, is_causal=True, enable_gqa=True
        )
        x = x + mixed.transpose(1, 2).flatten(-2) @ w["attn_output"].T
        gate, up, down = (weights[layer_tensor(layer, name)] for name in ("ffn_gate", "ffn_up", "ffn_down"))
        normed = norm(layer_tensor(layer, "ffn_norm"), x)
        x = x + (functional.silu(normed @ gate.T) * (normed @ up.T)) @ down.T
    return norm("output_norm.weight", x) @ weights[DIMS.output].T


def rounded(weights: Weights) -> Weights:
    """As they are stored in 4 bits, for what is; the gradient passes as if they were not."""
    return {name: _nibbles(weight) if is_nibbles(name) else weight for name, weight in weights.items()}


def _nibbles(weight: Tensor) -> Tensor:
    """As Q4_1: each group of 32 between its smallest and its largest in 15 steps."""
    groups = weight.detach().unflatten(-1, (-1, 32))
    low, high = groups.amin(-1, keepdim=True), groups.amax(-1, keepdim=True)
    step = ((high - low) / 15).clamp_min(1e-12)
    stored = (((groups - low) / step).round() * step + low).flatten(-2)
    return weight + (stored - weight.detach())


def loss(weights: Weights, rows: tuple[Tensor, Tensor]) -> Tensor:
    """Nats a token."""
    return functional.cross_entropy(logits(weights, rows[0]).flatten(0, 1), rows[1].flatten())


@torch.no_grad()
def measured(weights: Weights, other: Text) -> float:
    parts = [loss(weights, other.rows(slice(at, at + BATCH))).item() for at in range(0, 96, BATCH)]
    return sum(parts) / len(parts)


@torch.no_grad()
def said(weights: Weights, words: Vocabulary, prompt: str, count: int = 120) -> list[int]:
    """The likeliest tokens after a prompt."""
    ids = words.encode(prompt)
    first = len(ids)
    while len(ids) - first < count:
        token = int(logits(weights, torch.tensor([ids]))[0, -1].argmax())
        if token == words.eos:
            break
        ids.append(token)
    return ids[first:]


def trained(words: Vocabulary, steps: int, kept: Path) -> Weights:
    text, other = Text.of(words, SEED, TEXTS), Text.of(words, OTHER_SEED, OTHER_TEXTS)
    print(f"{len(text.ids):,} tokens of {TEXTS:,} texts; {DIMS.weights:,} weights; {steps:,} steps of {BATCH} rows")
    weights = begun()
    vectors = [weight for name, weight in weights.items() if is_vector(name)]
    matrices = [weight for name, weight in weights.items() if not is_vector(name)]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=RATE, betas=(0.9, 0.95))
    first = 0
    if kept.exists():
        state = torch.load(kept)
        first = state["step"]
        optimiser.load_state_dict(state["optimiser"])
        for name, weight in weights.items():
            weight.data.copy_(state["weights"][name])
        print(f"goes on at step {first:,}")
    begin, begin_cpu = time.monotonic(), time.process_time()
    falls = round(steps * (1 - FALLING))
    for step in range(first, steps):
        for group in optimiser.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / WARM_UP, (steps - step) / (steps - falls))
        which = torch.from_numpy(np.random.default_rng((SEED, step)).integers(len(text.starts), size=BATCH))
        nats = loss(rounded(weights) if step >= falls else weights, text.rows(which))
        optimiser.zero_grad()
        nats.backward()
        torch.nn.utils.clip_grad_norm_(list(weights.values()), 1.0)
        optimiser.step()
        done = step + 1
        if done % _TOLD == 0:
            spent = f"{time.monotonic() - begin:6.0f} s, {time.process_time() - begin_cpu:6.0f} s of CPU"
            print(f"step {done:5,}  {nats.item():.3f} nats/token  {spent}", flush=True)
        if done % _MEASURED == 0 or done == steps:
            print(f"  validation {measured(weights, other):.4f}, rounded {measured(rounded(weights), other):.4f}")
        if done % _KEPT == 0:
            state = {"step": done, "optimiser": optimiser.state_dict(), "weights": weights}
            torch.save(state, kept.with_suffix(".new"))
            kept.with_suffix(".new").replace(kept)
    return rounded(weights)


def main() -> None:
    parser = argparse.ArgumentParser(description="Learns the small model of tests and demo.")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="for small.gguf and checkpoints")
    parser.add_argument("--steps", type=int, default=STEPS, metavar="N", help=f"default {STEPS}")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    print(f"torch {torch.__version__}, 1 thread, seed {SEED}")
    texts = list(corpus.texts(SEED, LEARNT_TEXTS))
    print(f"tokens of the first {LEARNT_TEXTS:,} texts, SHA-256 {corpus.digest(texts)}")
    words = tokens.learnt(texts, DIMS.vocabulary)
    weights = trained(words, options.steps, options.out / "checkpoint.pt")
    for prompt in ("Once upon a time, there was a", "Once upon a time, there was a clever owl named"):
        print(f"> {prompt}\n{words.decode(said(weights, words, prompt))}")
    out = options.out / "small.gguf"
    write_gguf(out, DIMS, words, {name: weight.detach().numpy() for name, weight in weights.items()})
    print(f"{out.name}: {out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
