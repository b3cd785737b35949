"""Writes every swap of the run to a file.

    gdb -batch -x gdb_scripts/bareflow.py -ex 'bf attach NAME' -ex 'bf release' -x gdb_scripts/trace_swaps.py

Arguments: $bf_out or BF_OUT, the file, a JSON object per line (default swaps.jsonl); $bf_function; $bf_count: end
after so many. Exit status: 0 when there were swaps, 1 when there was none, 2 when it could not look.
"""

import contextlib
from pathlib import Path

from bareflow_gdb.files import private_opener
from bareflow_gdb.gdb_ui import headless
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.gdb_ui.show import say
from bareflow_gdb.render.jsonable import dumps


def main(session: Session) -> int:
    path = Path(headless.argument("out", "swaps.jsonl"))
    most = headless.number("count", 0)
    written = 0
    found = headless.swaps(session, headless.argument("function"))
    with open(path, "w", encoding="utf-8", opener=private_opener) as out, contextlib.closing(found):
        for swap in found:
            # Flushed, so that whatever ends this run leaves what it saw.
            print(" ".join(line.strip() for line in dumps(swap).splitlines()), file=out, flush=True)
            written += 1
            if written == most:
                break
    say(f"{written} swaps in {path}")
    return headless.FINE if written else headless.NO


headless.run(main)
