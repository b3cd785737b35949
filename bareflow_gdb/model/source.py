"""What does a model file of others offer, and is it a whole Llama model? One record for every format."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bareflow_gdb import foreign
from bareflow_gdb.errors import BadData
from bareflow_gdb.files import open_regular
from bareflow_gdb.model.dims import Dims, is_vector
from bareflow_gdb.model.encodings import Bytes, Encoding, Floats
from bareflow_gdb.model.vocabulary import Vocabulary


@dataclass(frozen=True)
class Tensor:
    """Where a tensor lies in the file."""

    encoding: Encoding
    rows: int
    columns: int
    offset: int

    @property
    def row_bytes(self) -> int:
        return self.encoding.row_bytes(self.columns)

    @property
    def bytes(self) -> int:
        return self.rows * self.row_bytes


@dataclass(frozen=True)
class Source:
    """A model file that has been read as far as where everything is."""

    path: Path
    format: str
    """As people say it: "GGUF 3"."""
    name: str
    dims: Dims
    tensors: dict[str, Tensor]
    data: mmap.mmap
    vocabulary: Vocabulary | None
    chat_template: str = ""

    def raw(self, name: str, first: int = 0, count: int | None = None) -> Bytes:
        """The bytes of some rows, [rows, bytes of one]."""
        tensor = self.tensors[name]
        count = tensor.rows - first if count is None else count
        view = np.frombuffer(self.data, np.uint8, count * tensor.row_bytes, tensor.offset + first * tensor.row_bytes)
        return view.reshape(count, tensor.row_bytes)

    def floats(self, name: str) -> Floats:
        """The weights, [rows, columns]. Raises BadData for what is not finite."""
        made = self.tensors[name].encoding.floats(self.raw(name))
        if not np.isfinite(made).all():
            raise BadData(f"its tensor {foreign.sentence(name)} holds numbers that are not finite; the file is damaged")
        return made


@contextmanager
def about(path: Path) -> Iterator[None]:
    """What is found wrong in the block is told of this file."""
    try:
        yield
    except BadData as error:
        raise BadData(f"{path}: {error}") from error


def mapped(path: Path) -> mmap.mmap:
    """The file's bytes. Raises UsageError, Unreachable, BadData."""
    with open_regular(path) as file:
        try:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except (OSError, ValueError) as error:
            raise BadData(f"it cannot be read ({error}); give another file") from error


def checked(source: Source) -> Source:
    """Itself; raises BadData unless its tensors are those of its sizes, and in the file."""
    wanted = source.dims.shapes()
    for name, shape in wanted.items():
        tensor = source.tensors.get(name)
        if tensor is None:
            raise BadData(f"its tensor {name} is missing; take a whole Llama model")
        if (tensor.rows, tensor.columns) != shape:
            raise BadData(
                f"its tensor {name} has {tensor.rows:,} x {tensor.columns:,} weights where the model's sizes ask for "
                f"{shape[0]:,} x {shape[1]:,}; the file is damaged"
            )
        if tensor.columns % tensor.encoding.block:
            raise BadData(
                f"its tensor {name} is {tensor.encoding.name} with rows of {tensor.columns:,} weights, which are no "
                f"whole blocks of {tensor.encoding.block}; the file is damaged"
            )
        if is_vector(name) and tensor.encoding.planes != 2:
            raise BadData(f"its tensor {name} is {tensor.encoding.name}, and norms are F32; take another file")
        if tensor.offset + tensor.bytes > len(source.data):
            raise BadData(
                f"its tensor {name} ends at byte {tensor.offset + tensor.bytes:,} of {len(source.data):,}; the file "
                "was cut off, get it again"
            )
    more = next((name for name in source.tensors if name not in wanted), None)
    if more is not None:
        raise BadData(f"its tensor {foreign.sentence(more)} is not one of a plain Llama model; take another model")
    return source
