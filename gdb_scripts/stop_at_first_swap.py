"""Stops before the first swap of a function; the commands after it see the guest before the store.

    BF_FUNCTION=primes gdb -batch -x gdb_scripts/bareflow.py -ex 'bf attach NAME' -x gdb_scripts/stop_at_first_swap.py

Arguments: $bf_function or BF_FUNCTION (default: any). Exit status: 0 when the swap came, 1 when the run ended
without, 2 when it could not look.
"""

import contextlib

from bareflow_gdb.gdb_ui import headless
from bareflow_gdb.gdb_ui.session import Session
from bareflow_gdb.gdb_ui.show import say
from bareflow_gdb.gdb_ui.swap_words import words


def main(session: Session) -> int:
    function = headless.argument("function")
    with contextlib.closing(headless.swaps(session, function)) as found:
        swap = next(found, None)
    if swap is None:
        say(f"the run ended without a swap{f' of {function}' if function else ''}")
        return headless.NO
    say(words(swap))
    return headless.FINE


headless.run(main)
