"""How does a tool of the build read its words, write its file, and end when it cannot do its work?"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.files import BY_UMASK, write_atomically

Options = argparse.Namespace


def parser(module: str, about: str) -> argparse.ArgumentParser:
    """The command line of bareflow_gdb.build.MODULE; `about` is the module's own text."""
    shape = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(
        prog=f"python -m bareflow_gdb.build.{module}", description=about, formatter_class=shape
    )


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
