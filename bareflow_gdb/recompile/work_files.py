"""What was a version made of? Its bitcode, object, remarks and pass times in a folder, for whoever looks closer."""

from __future__ import annotations

from pathlib import Path

from bareflow_gdb.errors import CannotWrite
from bareflow_gdb.files import write_atomically
from bareflow_gdb.foreign import is_plain
from bareflow_gdb.recompile.compiler import Compilation


def keep(folder: Path, function: str, payload: bytes, made: Compilation) -> tuple[str, ...]:
    """Writes `NAME.O3.bc`, `.o`, `.remarks` and `.passes`, in the place of older ones; returns the paths.

    No name of the guest that a shell would not take is part of a file's. Raises CannotWrite.
    """
    stem = f"{function if is_plain(function) and '/' not in function else 'function'}.O{made.level}"
    passes = "".join(f"{spent:10.3f} ms  {name}\n" for name, spent in made.passes)
    files = {
        "bc": payload,
        "o": made.data,
        "remarks": "".join(f"{line}\n" for line in made.remarks).encode(),
        "passes": passes.encode(),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWrite(folder, error) from error
    for suffix, data in files.items():
        write_atomically(folder / f"{stem}.{suffix}", data)
    return tuple(str(folder / f"{stem}.{suffix}") for suffix in files)
