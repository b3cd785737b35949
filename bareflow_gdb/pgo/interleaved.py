"""Which of several images of a module costs least, in one boot?

All of them become versions of one function, in a guest that calls every function in its turn. Again and again the host
has the guest change between them, in another order each time: what the host does besides, and what else lies in the
guest's memory, is the same for all. The guest measures the calls, version by version.

One image is there twice: by what its two versions differ, the others may differ by chance.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from bareflow_gdb.errors import BareflowError
from bareflow_gdb.guest import module_obeying, module_orders, obeying, orders
from bareflow_gdb.guest.base.control import RELOAD, ROLLBACK, WAIT_SECONDS
from bareflow_gdb.guest.base.find import find_root
from bareflow_gdb.guest.base.root import Root
from bareflow_gdb.guest.code.costs import read_costs
from bareflow_gdb.guest.code.functions import Tables, read_tables
from bareflow_gdb.guest.code.profiler import read_profile
from bareflow_gdb.guest.code.worth import FEWEST, measured
from bareflow_gdb.guest.obeying import POLL_SECONDS
from bareflow_gdb.guest.scenario import number
from bareflow_gdb.memory.protocol import Memory
from bareflow_gdb.pgo.measure import NEVER, SECONDS, Span, booted, check_results
from bareflow_gdb.qemu.image import RootSettings

TURNS = 10
"""Of all versions. The guest keeps 16 to 32 samples of each, at equal distances; with so many each turn has some."""
CALLS = 50
"""Of each version in a turn, or some more."""
MOST_WAYS = 4
"""Besides AGAIN: the guest keeps four retired versions of a function."""
AGAIN = "again"
_SEED = 20260101

Ways = Mapping[str, Mapping[str, bytes]]
"""Module images by label and name; every label has all names."""


def compare(kernel: Path, ways: Ways, twice: str, turns: int = TURNS) -> dict[str, dict[str, Span]]:
    """Cycles of a call, by label and module. Equal images are one version, with the same figures.

    `kernel`: a boot image with these modules. `twice`: the label whose images are there once more, as AGAIN.

    Raises BareflowError, also when a module's result is wrong.
    """
    assert len(ways) <= MOST_WAYS
    with booted(kernel, RootSettings(thresholds=NEVER, scenario=number("calls")), "running") as machine:
        memory = machine.memory()
        bench = _Bench(memory, find_root(memory).root)
        versions = {label: bench.bring(images) for label, images in ways.items()}
        versions[AGAIN] = bench.bring(ways[twice], anew=True)
        chance = random.Random(_SEED)
        for _ in range(turns):
            for step in _turn(bench.versions, chance):
                bench.change(step)
                bench.wait_for_calls(CALLS)
        check_results(machine)
        spans = bench.spans()
    return {label: {name: spans[version] for name, version in of.items()} for label, of in versions.items()}


def _turn(versions: Mapping[str, list[int]], chance: random.Random) -> Iterator[dict[str, int]]:
    """Which version each module is to have, step by step, until each has had all of its own."""
    shuffled = {name: chance.sample(of, len(of)) for name, of in versions.items()}
    for step in range(max(len(of) for of in shuffled.values())):
        yield {name: of[step % len(of)] for name, of in shuffled.items()}


class _Bench:
    """The functions of one running guest, and their versions."""

    def __init__(self, memory: Memory, root: Root) -> None:
        self._memory = memory
        self._root = root
        self._known: dict[tuple[str, bytes], int] = {}
        self.versions: dict[str, list[int]] = {}
        """By module, as they were brought."""

    def bring(self, images: Mapping[str, bytes], *, anew: bool = False) -> dict[str, int]:
        """The number of the version that each image is in the guest; `anew`: another one even of an equal image."""
        return {name: self._bring(name, image, anew) for name, image in images.items()}

    def _bring(self, name: str, image: bytes, anew: bool) -> int:
        if not anew and (name, image) in self._known:
            return self._known[name, image]
        order = module_orders.order(self._memory, self._root, RELOAD, image)
        answer = module_obeying.carried_out(self._memory, self._root, order, WAIT_SECONDS)
        if not answer.done or answer.version is None:
            raise BareflowError(f"the guest does not take an image of {name}: {answer.message or 'it is no function'}")
        self._known[name, image] = answer.version
        self.versions.setdefault(name, []).append(answer.version)
        return answer.version

    def change(self, wanted: Mapping[str, int]) -> None:
        """Has each of these modules run that version. Raises BareflowError when it does not."""
        for name, version in wanted.items():
            told = orders.order(self._memory, self._root, ROLLBACK, name, str(version))
            if isinstance(told, orders.Order):
                told = obeying.carried_out(self._memory, self._root, told, WAIT_SECONDS)
            if told.version != version:
                raise BareflowError(f"the guest did not change {name} to version #{version}: {told.message}")

    def wait_for_calls(self, calls: int) -> None:
        """Until every function was called so often from now on."""
        before = self._calls()
        deadline = time.monotonic() + SECONDS
        while any(now - before[name] < calls for name, now in self._calls().items()):
            if time.monotonic() >= deadline:
                raise BareflowError(f"the guest did not call its functions {calls} times within {SECONDS:g} s")
            time.sleep(POLL_SECONDS)

    def spans(self) -> dict[int, Span]:
        """By version, what a call took."""
        costs = read_costs(self._memory, self._root, self._tables())
        found = {}
        for name, versions in self.versions.items():
            for version in versions:
                side = measured(costs[version]) if version in costs else None
                if side is None or side.low is None or side.high is None or side.samples < FEWEST:
                    raise BareflowError(
                        f"the guest measured too few calls of {name}, version #{version}; take more turns"
                    )
                found[version] = Span(side.cycles, side.low, side.high, side.samples)
        return found

    def _tables(self) -> Tables:
        self._memory.invalidate()
        return read_tables(self._memory, self._root, [], every=True, causes=False)

    def _calls(self) -> dict[str, int]:
        self._memory.invalidate()
        return {one.name: one.calls for one in read_profile(self._memory, self._root).functions}
