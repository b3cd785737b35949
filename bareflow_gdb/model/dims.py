"""How large is a Llama model, and which tensors must it then have?"""

from __future__ import annotations

import math
from dataclasses import dataclass

from bareflow_gdb.errors import BadData

_MOST = {
    "layers": 256,
    "dim": 1 << 16,
    "hidden": 1 << 18,
    "heads": 1 << 10,
    "kv_heads": 1 << 10,
    "head_size": 1 << 10,
    "vocabulary": 1 << 20,
    "context": 1 << 24,
}
"""Beyond every model that a 32-bit guest has room for."""

LAYER = ("attn_norm", "attn_q", "attn_k", "attn_v", "attn_output", "ffn_norm", "ffn_gate", "ffn_up", "ffn_down")
"""The tensors of one layer, in the order in which they are used."""


@dataclass(frozen=True)
class Dims:
    """The sizes of a model, and the constants of its norms and positions."""

    dim: int
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    """Heads of keys and values; each serves heads / kv_heads queries."""
    head_size: int
    vocabulary: int
    context: int
    """Positions that it was trained for."""
    rope_base: float
    epsilon: float
    tied: bool
    """The embedding is the output's matrix too."""

    def checked(self) -> Dims:
        """Itself; raises BadData when no model has these sizes."""
        for name, most in _MOST.items():
            value = getattr(self, name)
            if not 1 <= value <= most:
                raise BadData(f"its {name} is {value:,}, which is not between 1 and {most:,}; the file is damaged")
        if self.heads % self.kv_heads:
            raise BadData(
                f"its {self.heads} heads cannot share {self.kv_heads} heads of keys and values; the file is damaged"
            )
        if self.head_size % 2:
            raise BadData(f"its heads have {self.head_size} values, which are no pairs to turn; the file is damaged")
        if not (math.isfinite(self.rope_base) and self.rope_base > 0):
            raise BadData(f"its rope base is {self.rope_base}; the file is damaged")
        if not 0 <= self.epsilon < 1:
            raise BadData(f"the epsilon of its norms is {self.epsilon}; the file is damaged")
        return self

    @property
    def query_dim(self) -> int:
        return self.heads * self.head_size

    @property
    def kv_dim(self) -> int:
        return self.kv_heads * self.head_size

    @property
    def weights(self) -> int:
        return sum(rows * columns for rows, columns in self.shapes().values())

    def shapes(self) -> dict[str, tuple[int, int]]:
        """Rows and columns of every tensor by its name in GGUF, in the order of use; a vector is one row."""
        inner = {
            "attn_norm": (1, self.dim),
            "attn_q": (self.query_dim, self.dim),
            "attn_k": (self.kv_dim, self.dim),
            "attn_v": (self.kv_dim, self.dim),
            "attn_output": (self.dim, self.query_dim),
            "ffn_norm": (1, self.dim),
            "ffn_gate": (self.hidden, self.dim),
            "ffn_up": (self.hidden, self.dim),
            "ffn_down": (self.dim, self.hidden),
        }
        found = {"token_embd.weight": (self.vocabulary, self.dim)}
        for layer in range(self.layers):
            found.update({layer_tensor(layer, name): inner[name] for name in LAYER})
        found["output_norm.weight"] = (1, self.dim)
        if not self.tied:
            found["output.weight"] = (self.vocabulary, self.dim)
        return found

    @property
    def output(self) -> str:
        """The tensor whose rows give the logits."""
        return "token_embd.weight" if self.tied else "output.weight"


def layer_tensor(layer: int, name: str) -> str:
    return f"blk.{layer}.{name}.weight"


def is_vector(name: str) -> bool:
    return name.endswith("_norm.weight")
