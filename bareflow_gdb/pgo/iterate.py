"""How far can the modules be optimised? Profile, plan, compile, measure, and again, until little is gained.

The ways that a module may be compiled are tried one after the other: by its class, by the counts of its blocks, at the
highest tier without and with them. What costs more instructions than the best so far is put back, and named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from bareflow_gdb.errors import UsageError
from bareflow_gdb.pgo import kernel, measure, plan
from bareflow_gdb.pgo.compiling import Compiler
from bareflow_gdb.pgo.counts import FunctionCounts
from bareflow_gdb.pgo.firmware import Firmware
from bareflow_gdb.pgo.instrumented import instrument
from bareflow_gdb.pgo.measure import Cycles, geometric_mean
from bareflow_gdb.pgo.plan import Choice, Plan, Thresholds
from bareflow_gdb.pgo.profile import Cost, Profile

BASELINES = ("O0", "O2", "O3")
REFERENCE = "O2"
"""What the system's authors built their kernels with."""
CLASSES, COUNTERS, HIGHEST, BOTH = "classes", "counters", "O3", "O3+counters"
LEAST_GAIN = 0.02
ROUNDS = 5
Told = Callable[[str], None]


@dataclass(frozen=True)
class Round:
    """One round: what was tried, what of it stays."""

    number: int
    trying: str
    plan: Plan
    """What was compiled."""
    instructions: dict[str, int]
    """Of a call, of what was compiled."""
    put_back: tuple[str, ...]
    """Modules that got slower, and what they are now."""
    gain: float
    """Of all modules, over the round before; the geometric mean."""


@dataclass(frozen=True)
class Report:
    """What became of it."""

    profile: Profile
    baselines: dict[str, dict[str, int]]
    rounds: tuple[Round, ...]
    plan: Plan
    """What is best."""
    instructions: dict[str, int]
    equal: bool
    """Were two runs of the best kernel equal to the instruction?"""
    counting: dict[str, int]
    """Instructions of the kernel that counts its blocks; empty when none was built."""
    sizes: dict[str, dict[str, int]]
    """Bytes of the images: of REFERENCE and of the best."""
    cycles: dict[str, dict[str, Cycles]] = field(default_factory=dict)
    converged: bool = True
    calls: int = measure.CALLS

    def factor(self, over: str) -> float:
        """How many times faster than a baseline, in instructions: the geometric mean over the modules."""
        base = self.baselines[over]
        return geometric_mean(base[name] / now for name, now in self.instructions.items())

    def slower(self, over: str) -> dict[str, float]:
        """The modules that need more instructions than in a baseline, and how many times as many."""
        base = self.baselines[over]
        return {name: now / base[name] for name, now in self.instructions.items() if now > base[name]}


@dataclass
class Workshop(AbstractContextManager["Workshop"]):
    """Builds kernels with other versions of their modules, each in a directory that goes at the end."""

    firmware: Firmware
    compiler: Compiler = field(init=False)
    _folder: TemporaryDirectory[str] = field(init=False)
    _number: int = 0

    def __post_init__(self) -> None:
        self.compiler = Compiler(self.firmware)
        self._folder = TemporaryDirectory(prefix="bfp-")
        self._base = Path(self._folder.name) / "work"
        kernel.prepare(self.firmware, self._base)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._folder.cleanup()

    def build(self, images: Mapping[str, bytes]) -> Path:
        """The boot image of a kernel with these modules; it stays until the workshop is left."""
        built = kernel.with_images(self._base, images)
        self._number += 1
        kept = Path(self._folder.name) / f"kernel{self._number}.img"
        built.rename(kept)
        return kept

    def of_plan(self, choices: Iterable[Choice]) -> Path:
        """The same, compiled."""
        return self.build({choice.name: self.compiler.image(choice) for choice in choices})

    def count_blocks(self) -> tuple[dict[str, tuple[FunctionCounts, ...]], dict[str, int]]:
        """How often the blocks of all modules ran, and what a call cost while they were counted."""
        built = {name: instrument(self.firmware, name) for name in self.firmware.names()}
        image = self.build({name: one.image for name, one in built.items()})
        return measure.counts(image, built), measure.count(image).per_call()


def signed(profile: Profile, firmware: Firmware) -> Profile:
    """With the digests of the bitcode of each module that is built here."""
    return profile.signed({name: firmware.digest(name) for name in firmware.names()})


def iterate(
    workshop: Workshop,
    thresholds: Thresholds,
    told: Told,
    *,
    rounds: int = ROUNDS,
    least_gain: float = LEAST_GAIN,
    counters: bool = True,
    boots: int = 0,
) -> Report:
    """`boots`: of each kernel, to compare cycles. Raises BareflowError."""
    if rounds < 1:
        raise UsageError("--rounds takes 1 or more")
    told("the baselines: all modules at O0, O2 and O3")
    names = workshop.firmware.names()
    kernels = {level: workshop.of_plan(_all_at(level, names)) for level in BASELINES}
    runs = {level: measure.count(image) for level, image in kernels.items()}
    baselines = {level: run.per_call() for level, run in runs.items()}
    profile = signed(runs["O0"].modules, workshop.firmware)
    counting: dict[str, int] = {}
    if counters:
        told("the kernel that counts its blocks")
        blocks, counting = workshop.count_blocks()
        profile = profile.counted(blocks)

    base = {choice.name: choice for choice in _all_at(REFERENCE, names)}
    best, now = dict(base), dict(baselines[REFERENCE])
    tried: list[Round] = []
    made = plan.make(profile, thresholds)
    ways = [CLASSES, *((COUNTERS,) if counters else ()), HIGHEST, *((BOTH,) if counters else ())]
    converged = False
    for number, way in enumerate(ways[:rounds], 1):
        proposed = made.with_choices(_tried(choice, way, profile) for choice in made.choices)
        image = workshop.of_plan(proposed.choices)
        seen = measure.count(image).per_call()
        before, put_back = dict(now), []
        for choice in proposed.choices:
            if seen[choice.name] <= now[choice.name]:
                best[choice.name], now[choice.name] = choice, seen[choice.name]
            else:
                more = seen[choice.name] / now[choice.name] - 1
                put_back.append(f"{choice.name}: {choice.how} costs {more:.1%} more than {best[choice.name].how}")
        gain = geometric_mean(before[name] / now[name] for name in names) - 1
        tried.append(Round(number, way, proposed, seen, tuple(put_back), gain))
        told(f"round {number}, {way}: {gain:+.2%}" + (f"; put back {len(put_back)}" if put_back else ""))
        # The first round may only find what the reference was already.
        if number > 1 and gain < least_gain:
            converged = True
            break
    converged = converged or len(tried) == len(ways)

    final = made.with_choices(_explained(best[choice.name], choice, now, tried) for choice in made.choices)
    told("the best of all, twice")
    kernels["best"] = workshop.of_plan(final.choices)
    first, second = (measure.count(kernels["best"]).per_call() for _ in range(2))
    sizes = {
        REFERENCE: {name: len(workshop.compiler.image(base[name])) for name in names},
        "best": {choice.name: len(workshop.compiler.image(choice)) for choice in final.choices},
    }
    if boots:
        told(f"cycles: {boots} boots of each of {len(kernels)} kernels in turn")
    cycles = measure.compare_cycles(kernels, boots)
    return Report(profile, baselines, tuple(tried), final, first, first == second, counting, sizes, cycles, converged)


def _all_at(level: str, names: Iterable[str]) -> list[Choice]:
    return [Choice(name, "", int(level[1:]), (), 0, 0, f"all at {level}") for name in names]


def _tried(choice: Choice, way: str, profile: Profile) -> Choice:
    """The choice of the plan, as this round has it."""
    if choice.kind not in (plan.HOT, plan.ULTRA):
        return choice
    costs: dict[str, Cost] = {cost.name: cost for cost in profile.costs}
    level = 3 if way in (HIGHEST, BOTH) else choice.level
    counted = costs[choice.name].counters if way in (COUNTERS, BOTH) else ()
    return replace(choice, level=level, counters=counted)


def _explained(best: Choice, planned: Choice, now: Mapping[str, int], tried: Iterable[Round]) -> Choice:
    """The best choice with the class of the plan, and why it is not the plan's when it is not."""
    if best.how == planned.how:
        return replace(planned, counters=best.counters)
    costs = [f"{one.instructions[best.name]:,} at {_how(one, best.name)}" for one in tried]
    reason = (
        f"{planned.reason}; measured: {now[best.name]:,} instructions at {best.how}, {', '.join(dict.fromkeys(costs))}"
    )
    return replace(planned, level=best.level, counters=best.counters, reason=reason)


def _how(one: Round, name: str) -> str:
    return next(choice.how for choice in one.plan.choices if choice.name == name)
