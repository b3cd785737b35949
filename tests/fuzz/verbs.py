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
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            options = _parser(words[0]).parse_args(list(words))
        except SystemExit as error:
            raise UsageError(said.getvalue()) from error
        options.run_verb(options)
    return said.getvalue()
