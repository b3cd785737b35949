"""How does a Llama model compute the logits of the next token? The wiring; how numbers are multiplied is a subclass's.

Many positions may be computed at once. Every value is the same as when they are computed one by one: floats are added
in one order, which is that of their index, and integers and single operations have no order.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bareflow_gdb.errors import UsageError
from bareflow_gdb.guest.model.conversation import Sampling
from bareflow_gdb.model.dims import Dims, layer_tensor
from bareflow_gdb.model.encodings import Floats
from bareflow_gdb.model.progress import Progress, silent
from bareflow_gdb.model.sampling import drawn, likeliest

_AT_ONCE = 16


@dataclass(frozen=True)
class Activation:
    """What one kernel made of one token."""

    position: int
    name: str
    """A tensor's, without `.weight`, or what is made besides: "blk.3.attn_q", "blk.3.swiglu", "logits"."""
    kernel: str
    """embed, rmsnorm, quantise, matmul, rope, attention, add or swiglu"""
    values: Floats


class Network(ABC):
    """A model with the keys and values of the text so far."""

    def __init__(self, dims: Dims, positions: int, turns: Floats) -> None:
        """`turns`: cosine and sine of each position and pair, [positions, pairs, 2]."""
        self.dims = dims
        self.positions = positions
        self._turns = turns
        self._keys: list[Floats] = []
        self._values: list[Floats] = []
        self._seen: list[Activation] | None = None
        self.clear()

    def clear(self) -> None:
        """Forgets the text."""
        self.at = 0
        self.crc = 0
        """Of all logits that `answer` has taken a token from."""
        shape = (0, self.dims.kv_heads, self.dims.head_size)
        self._keys = [np.zeros(shape, np.float32) for _ in range(self.dims.layers)]
        self._values = [np.zeros(shape, np.float32) for _ in range(self.dims.layers)]

    def go_on_from(self, keys: Sequence[Floats], values: Sequence[Floats]) -> None:
        """Takes the keys and values of a text, of each layer [tokens, kv_dim], as if it had computed them."""
        self.clear()
        self.at = len(keys[0])
        shape = (self.at, self.dims.kv_heads, self.dims.head_size)
        self._keys = [rows.reshape(shape) for rows in keys]
        self._values = [rows.reshape(shape) for rows in values]

    def cache(self, layer: int) -> tuple[Floats, Floats]:
        """Keys and values of the text so far, [tokens, kv_dim] each."""
        both = (self._keys[layer], self._values[layer])
        keys, values = (np.ascontiguousarray(rows).reshape(len(rows), -1) for rows in both)
        return keys, values

    @abstractmethod
    def embedded(self, ids: Sequence[int]) -> Floats:
        """Rows of the embedding, [tokens, dim]."""

    @abstractmethod
    def vector(self, name: str) -> Floats:
        """The factors of a norm."""

    @abstractmethod
    def project(self, names: Sequence[str], x: Floats) -> Iterator[Floats]:
        """Each matrix times each of [tokens, columns]: [tokens, rows]."""

    @abstractmethod
    def exp(self, x: Floats) -> Floats:
        """e to the power of each."""

    @abstractmethod
    def total(self, x: Floats, axis: int) -> Floats:
        """The sum along an axis."""

    def logits(self, ids: Sequence[int], progress: Progress = silent) -> Floats:
        """Goes on with these tokens; the logits after each of them, [tokens, vocabulary].

        Raises UsageError when the text gets longer than the model's positions, or a token is not there.
        """
        self._require(ids)
        return np.concatenate(list(self._pieces(ids, progress)))

    def activations(self, ids: Sequence[int]) -> Iterator[Activation]:
        """Goes on with these tokens, one by one; what each kernel makes, in the order in which the guest makes it.

        Raises UsageError as `logits` does.
        """
        self._require(ids)
        for token in ids:
            seen: list[Activation] = []
            self._seen = seen
            try:
                deque(self._pieces([token], silent), maxlen=0)
            finally:
                self._seen = None
            yield from seen

    def made(self, kernel: str, name: str, x: Floats) -> Floats:
        """The same; noted when `activations` asks."""
        if self._seen is not None:
            self._seen.append(Activation(self.at, name.removesuffix(".weight"), kernel, x.reshape(-1).copy()))
        return x

    def answer(
        self,
        ids: Sequence[int],
        count: int,
        stop: int | None = None,
        progress: Progress = silent,
        sampling: Sampling | None = None,
    ) -> Iterator[int]:
        """At most `count` tokens after these, fewer when `stop` is one of them.

        The likeliest, the first of equal ones; with `sampling` they are drawn.
        """
        for index in range(count):
            self._require(ids)
            (last,) = deque(self._pieces(ids, progress), maxlen=1)
            self.crc = zlib.crc32(last[-1].astype("<f4").tobytes(), self.crc)
            token = likeliest(last[-1]) if sampling is None else drawn(last[-1], sampling, index)
            if token == stop:
                return
            yield token
            ids = [token]

    def _require(self, ids: Sequence[int]) -> None:
        if self.at + len(ids) > self.positions:
            raise UsageError(
                f"the text has {self.at + len(ids):,} tokens and this model is packed for {self.positions:,}; "
                "shorten it, or pack the model with more --positions"
            )
        wrong = next((token for token in ids if not 0 <= token < self.dims.vocabulary), None)
        if wrong is not None:
            raise UsageError(f"token {wrong} is not one of {self.dims.vocabulary:,}; ids begin at 0")

    def _pieces(self, ids: Sequence[int], progress: Progress) -> Iterator[Floats]:
        """The logits of a few tokens at a time, so that a long text takes no more memory."""
        for first in range(0, len(ids), _AT_ONCE):
            if len(ids) > 1:
                progress(f"{first:,} of {len(ids):,} tokens of the text read", first / len(ids))
            # A damaged model's numbers may be anything; what comes of them is an answer too.
            with np.errstate(all="ignore"):
                made = self._logits(ids[first : first + _AT_ONCE])
            yield made

    def _logits(self, ids: Sequence[int]) -> Floats:
        x = self.made("embed", "token_embd", self.embedded(ids))
        for layer in range(self.dims.layers):
            x = x + self._attention(layer, self._norm(layer_tensor(layer, "attn_norm"), x))
            x = self.made("add", f"blk.{layer}.attn_add", x)
            x = x + self._feed(layer, self._norm(layer_tensor(layer, "ffn_norm"), x))
            x = self.made("add", f"blk.{layer}.ffn_add", x)
        (logits,) = self.project([self.dims.output], self._norm("output_norm.weight", x))
        logits = self.made("matmul", "logits", logits)
        self.at += len(ids)
        return logits

    def _norm(self, name: str, x: Floats) -> Floats:
        mean = self.total(x * x, axis=-1) / np.float32(self.dims.dim)
        scale = np.float32(1) / np.sqrt(mean + np.float32(self.dims.epsilon))
        return self.made("rmsnorm", name, x * scale[:, None] * self.vector(name))

    def _times(self, layer: int, names: Sequence[str], x: Floats) -> Iterator[Floats]:
        tensors = [layer_tensor(layer, name) for name in names]
        for tensor, product in zip(tensors, self.project(tensors, x), strict=True):
            yield self.made("matmul", tensor, product)

    def _attention(self, layer: int, x: Floats) -> Floats:
        dims, count = self.dims, len(x)
        query, key, value = self._times(layer, ("attn_q", "attn_k", "attn_v"), x)
        query = self.made("rope", f"blk.{layer}.rope_q", self._turned(query, dims.heads))
        key = self.made("rope", f"blk.{layer}.rope_k", self._turned(key, dims.kv_heads))
        value = value.reshape(count, dims.kv_heads, -1)
        self._keys[layer] = keys = np.concatenate([self._keys[layer], key])
        self._values[layer] = values = np.concatenate([self._values[layer], value])
        mixed = np.empty_like(query)
        for index in range(count):
            seen = self.at + index + 1
            mixed[index] = self._mixed(query[index], keys[:seen], values[:seen])
        mixed = self.made("attention", f"blk.{layer}.attention", mixed.reshape(count, -1))
        (product,) = self._times(layer, ("attn_output",), mixed)
        return product

    def _mixed(self, query: Floats, keys: Floats, values: Floats) -> Floats:
        """What one position's heads take from the positions up to it."""
        shared = self.dims.heads // self.dims.kv_heads
        grouped = query.reshape(self.dims.kv_heads, shared, -1)
        scale = np.float32(1) / np.sqrt(np.float32(self.dims.head_size))
        scores = self.total(grouped * keys[:, :, None], axis=-1) * scale
        weights = self.exp(scores - scores.max(axis=0))
        weights = weights * (np.float32(1) / self.total(weights, axis=0))
        return self.total(weights[..., None] * values[:, :, None], axis=0).reshape(query.shape)

    def _turned(self, x: Floats, heads: int) -> Floats:
        """Each pair of neighbours turned by its position's angle."""
        pairs = x.reshape(len(x), heads, -1, 2)
        turns = self._turns[self.at : self.at + len(x), None]
        cosine, sine = turns[..., 0], turns[..., 1]
        left, right = pairs[..., 0], pairs[..., 1]
        turned = np.stack([left * cosine - right * sine, left * sine + right * cosine], axis=-1)
        return turned.reshape(len(x), heads, -1)

    def _feed(self, layer: int, x: Floats) -> Floats:
        gate, up = self._times(layer, ("ffn_gate", "ffn_up"), x)
        active = self.made("swiglu", f"blk.{layer}.swiglu", gate / (np.float32(1) + self.exp(-gate)) * up)
        (product,) = self._times(layer, ("ffn_down",), active)
        return product
