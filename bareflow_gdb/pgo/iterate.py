"""How far can the modules be optimised? Profile, plan, compile, measure, and again, until little is gained.

Each round compiles every module in one more way: by its class, then at the highest tier by the counts of its blocks,
with its loops unrolled and without. What costs more instructions than the best so far is put back, and named; where
both cost the same, the smaller image stays.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import InitVar, dataclass, field, replace
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
from bareflow_gdb.pgo.profile import Profile

BASELINES = ("O0", "O2", "O3")
REFERENCE = "O2"
"""What the system's authors built their kernels with."""
CLASSES = "classes"
HIGHEST = {
    "O3+counters+unrolled": (True, True),
    "O3+counters": (True, False),
    "O3+unrolled": (False, True),
    "O3": (False, False),
}
"""After the classes: what is tried, whether by counts, whether with loops unrolled."""
SAME = 0.005
"""Of a call: within that the smaller image is the better one."""
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
    """Over what was best before it; the geometric mean over all modules."""


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
    images: dict[str, int]
    """Bytes of the best."""
    reference_images: dict[str, int]
    """Bytes of all modules at REFERENCE."""
    counting: dict[str, int]
    """Instructions of the kernel that counts its blocks; empty when none was built."""
    cycles: dict[str, dict[str, Cycles]] = field(default_factory=dict)
    converged: bool = True
    calls: int = measure.CALLS

    def factor(self, over: str, instructions: Mapping[str, int] | None = None) -> float:
        """How many times faster than a baseline the best is, or what else took these: the geometric mean."""
        base = self.baselines[over]
        return geometric_mean(base[name] / now for name, now in (instructions or self.instructions).items())

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

    def sizes(self, choices: Iterable[Choice]) -> dict[str, int]:
        """Bytes of their images."""
        return {choice.name: len(self.compiler.image(choice)) for choice in choices}

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

    made = plan.make(profile, thresholds)
    counted = {cost.name: cost.counters for cost in profile.costs}
    search = _Search(workshop, made, counted, _all_at(REFERENCE, names), baselines[REFERENCE])
    ways = [CLASSES, *(way for way, (by_counts, _) in HIGHEST.items() if counters or not by_counts)]
    tried: list[Round] = []
    for way in ways[:rounds]:
        tried.append(search.round(way))
        told(f"round {tried[-1].number}, {way}: {tried[-1].gain:+.2%}; put back {len(tried[-1].put_back)}")
        # The first round begins with less than the reference where a module is not hot.
        if len(tried) > 1 and tried[-1].gain < least_gain:
            break
    converged = len(tried) == len(ways) or (len(tried) > 1 and tried[-1].gain < least_gain)

    final = search.best_plan(tried)
    told("the best of all, twice")
    kernels["best"] = workshop.of_plan(final.choices)
    first, second = (measure.count(kernels["best"]).per_call() for _ in range(2))
    if boots:
        told(f"cycles: {boots} boots of each of {len(kernels)} kernels in turn")
    return Report(
        profile=profile,
        baselines=baselines,
        rounds=tuple(tried),
        plan=final,
        instructions=first,
        equal=first == second,
        images=workshop.sizes(final.choices),
        reference_images=workshop.sizes(_all_at(REFERENCE, names)),
        counting=counting,
        cycles=measure.compare_cycles(kernels, boots),
        converged=converged,
    )


@dataclass
class _Search:
    """The best way so far to compile each module."""

    workshop: Workshop
    plan: Plan
    counts: Mapping[str, tuple[FunctionCounts, ...]]
    begin: InitVar[Iterable[Choice]]
    begin_with: InitVar[Mapping[str, int]]
    """Instructions of a call, of these choices."""
    best: dict[str, Choice] = field(init=False)
    now: dict[str, int] = field(init=False)
    number: int = 0

    def __post_init__(self, begin: Iterable[Choice], begin_with: Mapping[str, int]) -> None:
        self.best = {choice.name: choice for choice in begin}
        self.now = dict(begin_with)

    def round(self, way: str) -> Round:
        """Compiles, measures, keeps what is better. Raises BareflowError."""
        self.number += 1
        proposed = self.plan.with_choices(self._tried(choice, way) for choice in self.plan.choices)
        seen = measure.count(self.workshop.of_plan(proposed.choices)).per_call()
        before, put_back = dict(self.now), []
        for choice in proposed.choices:
            if self._is_better(choice, seen[choice.name]):
                self.best[choice.name], self.now[choice.name] = choice, seen[choice.name]
            elif (more := seen[choice.name] / self.now[choice.name] - 1) > SAME:
                put_back.append(f"{choice.name} ({more:+.1%} at {choice.how}) to {self.best[choice.name].how}")
        gain = geometric_mean(before[name] / self.now[name] for name in before) - 1
        return Round(self.number, way, proposed, seen, tuple(put_back), gain)

    def best_plan(self, tried: Iterable[Round]) -> Plan:
        """The plan with the best of each, and the reason where that is not the plan's own."""
        tried = tuple(tried)
        return self.plan.with_choices(
            _explained(self.best[choice.name], choice, self.now[choice.name], tried) for choice in self.plan.choices
        )

    def _tried(self, choice: Choice, way: str) -> Choice:
        """The choice of the plan, as this round has it; what never ran stays."""
        if way == CLASSES or choice.kind == plan.COLD:
            return choice
        by_counts, unroll = HIGHEST[way]
        return replace(choice, level=3, unroll=unroll, counters=self.counts[choice.name] if by_counts else ())

    def _is_better(self, choice: Choice, seen: int) -> bool:
        best, now = self.best[choice.name], self.now[choice.name]
        if abs(seen / now - 1) > SAME:
            return seen < now
        sizes = self.workshop.sizes((choice,)), self.workshop.sizes((best,))
        return sizes[0][choice.name] < sizes[1][choice.name]


def _all_at(level: str, names: Iterable[str]) -> list[Choice]:
    return [Choice(name, "", int(level[1:]), (), 0, 0, f"all at {level}") for name in names]


def _explained(best: Choice, planned: Choice, now: int, tried: Iterable[Round]) -> Choice:
    seen = {_how(one, best.name): one.instructions[best.name] for one in tried}
    others = [f"{cost:,} at {how}" for how, cost in seen.items() if how != best.how]
    reason = f"{planned.reason}; measured: {now:,} a call at {best.how}, {', '.join(others)}"
    return replace(planned, level=best.level, counters=best.counters, unroll=best.unroll, reason=reason)


def _how(one: Round, name: str) -> str:
    return next(choice.how for choice in one.plan.choices if choice.name == name)
