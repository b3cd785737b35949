"""How is `bareflow VERB …` run here so that its errors are seen as they are raised, and all that it prints?"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from functools import cache

from bareflow_gdb.cli.main import build_parser
from bareflow_gdb.errors import UsageError

_parser = cache(build_parser)


def run_verb(words: Sequence[str]) -> str:
    """What is printed, on both streams. Raises what the verb raises."""
    # As strict as a real stream: what has no UTF-8 cannot be printed.
    said = io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True)
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            options = _parser(words[0]).parse_args(list(words))
        except SystemExit as error:
            raise UsageError(_read(said)) from error
        options.run_verb(options)
    return _read(said)


def _read(said: io.TextIOWrapper) -> str:
    said.seek(0)
    return said.buffer.read().decode("utf-8", "surrogateescape")
