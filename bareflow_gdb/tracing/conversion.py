"""Who turns closed journals into segments, and when?

One thread beside the recording, which needs the processors more; at its end as many as there are processors. What
waits is not lost when the recorder is killed: a journal is as good as its segment.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from bareflow_gdb.tracing import segments


class Conversion:
    """The journals of one recording that are not segments yet. A context manager: leaving it ends what is begun."""

    def __init__(self) -> None:
        self._beside = ThreadPoolExecutor(1, "trace segments")
        self._waiting: list[tuple[Path, Path, Future[int]]] = []

    def __enter__(self) -> Conversion:
        return self

    def __exit__(self, *_: object) -> None:
        self._beside.shutdown(cancel_futures=True)

    def add(self, journal: Path, segment: Path) -> None:
        """Queues a closed journal. Raises what became of an earlier one: CannotWrite, BadData."""
        for done in [job for job in self._waiting if job[2].done()]:
            self._waiting.remove(done)
            done[2].result()
        future = self._beside.submit(segments.convert_journal, journal, segment)
        self._waiting.append((journal, segment, future))

    def finish(self, waiting: Callable[[int], None]) -> None:
        """Converts what is left; `waiting` is told before each how many they are. Raises as `add`."""
        with ThreadPoolExecutor(os.cpu_count(), "trace segments") as all_of_them:
            futures = [
                all_of_them.submit(segments.convert_journal, journal, segment) if future.cancel() else future
                for journal, segment, future in self._waiting
            ]
            try:
                for done, future in enumerate(futures):
                    waiting(len(futures) - done)
                    future.result()
            except BaseException:
                all_of_them.shutdown(cancel_futures=True)
                raise
