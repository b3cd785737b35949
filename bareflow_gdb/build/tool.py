"""How does a tool of the build read its words, write its file, and end when it cannot do its work?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from bareflow_gdb.errors import BareflowError, UsageError
from bareflow_gdb.files import BY_UMASK, write_atomically

MOST_INPUT = 64 << 20
"""Of an object with its debug information, or of a file for the disk; what becomes of them has limits of its own."""

Options = argparse.Namespace


def parser(module: str, about: str) -> argparse.ArgumentParser:
    """The command line of bareflow_gdb.build.MODULE; `about` is the module's own text."""
    shape = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(
        prog=f"python -m bareflow_gdb.build.{module}", description=about, formatter_class=shape
    )


def read_input(path: Path, most: int = MOST_INPUT) -> bytes:
    """All of a file or a pipe. Raises OSError, UsageError when there is no end of it."""
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise UsageError(f"more than {most:,} bytes, which no kernel takes; make {path.name} smaller, or give another")
    return data


def run(name: str, options: Options, work: Callable[[Options], int | None]) -> int:
    """Works; an error becomes one sentence, which names the tool and its `--input`, and exit code 1."""
    try:
        return work(options) or 0
    except OSError as error:
        why = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    except BareflowError as error:
        why = f"{options.input}: {error}" if "input" in options else str(error)
    print(f"{name}: {why}", file=sys.stderr)
    return 1


def make(name: str, options: Options, content: Callable[[Options], bytes | str]) -> int:
    """Writes what `content` gives to the file `--output`: whole or not at all."""

    def work(options: Options) -> None:
        made = content(options)
        options.output.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(options.output, made, BY_UMASK)

    return run(name, options, work)
