"""What does the guest answer, and what would floats? The network with the guest's arithmetic, and with floats."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from bareflow_gdb.model import arithmetic
from bareflow_gdb.model.encodings import Floats
from bareflow_gdb.model.network import Network
from bareflow_gdb.model.packed import Part
from bareflow_gdb.model.packed_file import PackedFile
from bareflow_gdb.model.tiles import ROWS

_ROWS_AT_ONCE = 8192


class GuestNetwork(Network):
    """The reference: every logit has the guest's bits, whatever tier its kernels are of."""

    def __init__(self, file: PackedFile) -> None:
        super().__init__(file.model.dims, file.model.positions, turns(file))
        self.file = file
        self._matrices: dict[str, list[arithmetic.Matrix]] = {}

    def embedded(self, ids: Sequence[int]) -> Floats:
        part = self.file.part("token_embd.weight")
        rows = []
        for token in ids:
            tile = self.file.rows(part, token // ROWS * ROWS, min(ROWS, part.rows - token // ROWS * ROWS))
            rows.append(tile.floats(part.planes)[token % ROWS, : part.columns])
        return np.array(rows, np.float32).reshape(len(rows), part.columns)

    def vector(self, name: str) -> Floats:
        return self.file.floats(self.file.part(name))

    def project(self, names: Sequence[str], x: Floats) -> Iterator[Floats]:
        vectors = arithmetic.quantised(x)
        self.made("quantise", f"{names[0].removesuffix('.weight')}.input", vectors.floats())
        for name in names:
            yield np.concatenate([arithmetic.multiplied(rows, vectors) for rows in self._rows(name)], axis=1)

    def _rows(self, name: str) -> list[arithmetic.Matrix]:
        """A matrix in pieces that keep the products small."""
        if name not in self._matrices:
            part = self.file.part(name)
            starts = range(0, part.rows, _ROWS_AT_ONCE)
            read = (self.file.rows(part, first, min(_ROWS_AT_ONCE, part.rows - first)) for first in starts)
            self._matrices[name] = [arithmetic.Matrix(rows) for rows in read]
        return self._matrices[name]

    def exp(self, x: Floats) -> Floats:
        return arithmetic.exp(x)

    def total(self, x: Floats, axis: int) -> Floats:
        return arithmetic.total(x, axis)


class FloatNetwork(Network):
    """What the guest's integers are compared with; its weights may be those of the model that was packed."""

    def __init__(self, file: PackedFile, weights: Callable[[str], Floats] | None = None) -> None:
        super().__init__(file.model.dims, file.model.positions, turns(file))
        self._weights = weights or (lambda name: weights_of(file, file.part(name)))
        self._kept: dict[str, Floats] = {}

    def _matrix(self, name: str) -> Floats:
        if name not in self._kept:
            self._kept[name] = self._weights(name)
        return self._kept[name]

    def embedded(self, ids: Sequence[int]) -> Floats:
        return self._matrix("token_embd.weight")[list(ids)]

    def vector(self, name: str) -> Floats:
        return self._matrix(name).reshape(-1)

    def project(self, names: Sequence[str], x: Floats) -> Iterator[Floats]:
        return (x @ self._matrix(name).T for name in names)

    def exp(self, x: Floats) -> Floats:
        return np.exp(np.clip(x, -75, 75), dtype=np.float32)

    def total(self, x: Floats, axis: int) -> Floats:
        return np.asarray(x.sum(axis=axis, dtype=np.float32))


def turns(file: PackedFile) -> Floats:
    """Cosine and sine of each position and pair."""
    dims = file.model.dims
    return file.floats(file.part("rope")).reshape(file.model.positions, dims.head_size // 2, 2)


def weights_of(file: PackedFile, part: Part) -> Floats:
    """A tensor of the packed file as floats, [rows, columns]."""
    if not part.planes:
        return file.floats(part).reshape(1, -1)
    return file.rows(part).floats(part.planes)[:, : part.columns]
