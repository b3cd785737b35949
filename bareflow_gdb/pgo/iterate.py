"""How far can the modules be optimised? Profile, plan, compile, measure, and again, until little is gained.

Each round compiles every module in one more way: by its class, then at the highest tier by the counts of its blocks,
with its loops unrolled and without. What costs more than the best so far is put back, and named; where both cost the
same, the smaller image stays. What needs fewer instructions and yet more cycles than the reference is put back at the
end. Cycles are compared in one boot, the versions of each module in turn.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import InitVar, dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from bareflow_gdb.errors import UsageError
from bareflow_gdb.pgo import interleaved, kernel, measure, plan
from bareflow_gdb.pgo.compiling import Compiler
from bareflow_gdb.pgo.firmware import Firmware
from bareflow_gdb.pgo.instrumented import instrument
from bareflow_gdb.pgo.interleaved import AGAIN
from bareflow_gdb.pgo.measure import Span, geometric_mean
from bareflow_gdb.pgo.plan import Choice, Plan, Thresholds
from bareflow_gdb.pgo.profile import CYCLES, INSTRUCTIONS, Counted, Profile

BASELINES = ("O0", "O2", "O3")
BEST = "best"
REFERENCE = "O2"
"""What the system's authors built their kernels with."""
CLASSES = "classes"
HIGHEST = {
    "O3+counters+constants+unrolled": (True, True, True),
    "O3+counters+unrolled": (True, False, True),
    "O3+counters": (True, False, False),
    "O3+unrolled": (False, False, True),
    "O3": (False, False, False),
}
"""After the classes: what is tried, whether by counts, whether for frequent arguments, whether with loops unrolled."""
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
    cost: dict[str, int]
    """Of a call, of what was compiled."""
    over_reference: float
    """How many times faster than all modules at REFERENCE what was compiled is: the geometric mean."""
    put_back: tuple[str, ...]
    """Modules that got slower, and what they are now."""
    gain: float
    """Over what was best before it; the geometric mean over all modules."""


@dataclass(frozen=True)
class Report:
    """What became of it; all of a call."""

    by: str
    """What the rounds compared: instructions or cycles."""
    profile: Profile
    baselines: dict[str, dict[str, int]]
    """Instructions."""
    rounds: tuple[Round, ...]
    converged: bool
    put_back: tuple[str, ...]
    """At the end, for its cycles."""
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
    cycles: dict[str, dict[str, Span]]
    """Of the baselines and of BEST; what was put back at the end has those of REFERENCE."""
    noise: dict[str, float]
    """By which share of its cycles two versions of a module differed that are equal."""
    turns: int
    """How often each version was measured in its turn; 0 = cycles were not."""
    calls: int = measure.CALLS

    def factor(self, over: str) -> float:
        """How many times fewer instructions the best needs than a baseline: the geometric mean."""
        base = self.baselines[over]
        return geometric_mean(base[name] / now for name, now in self.instructions.items())

    def cycles_factor(self, over: str) -> float:
        """The same in cycles, of the medians."""
        base = self.cycles[over]
        return geometric_mean(base[name].median / now.median for name, now in self.cycles[BEST].items())

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
        """The boot image of a kernel with these modules, the others at O0; it stays until the workshop is left."""
        others = {name: self.firmware.image_of(name) for name in self.firmware.names() if name not in images}
        built = kernel.with_images(self._base, {**others, **images})
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

    def compare(
        self, ways: Mapping[str, list[Choice]], turns: int
    ) -> tuple[dict[str, dict[str, Span]], dict[str, float]]:
        """Cycles of a call, by way and module; and by which share of it two equal versions differed, by module."""
        images = {label: {one.name: self.compiler.image(one) for one in choices} for label, choices in ways.items()}
        found = interleaved.compare(self.firmware.image, images, REFERENCE, turns)
        again, first = found.pop(AGAIN), found[REFERENCE]
        return found, {name: abs(span.median / first[name].median - 1) for name, span in again.items()}

    def count(self, names: Iterable[str], *, arguments: bool = False) -> tuple[dict[str, Counted], dict[str, int]]:
        """How often the blocks of these modules ran, on request with which arguments; and what a call cost then."""
        built = {name: instrument(self.firmware, name, arguments=arguments) for name in names}
        image = self.build({name: one.image for name, one in built.items()})
        counts, run = measure.counts(image, built, arguments=arguments)
        return counts, run.per_call(built)


def signed(profile: Profile, firmware: Firmware) -> Profile:
    """With the digests of the bitcode of each module that is built here."""
    return profile.signed({name: firmware.digest(name) for name in firmware.names()})


def iterate(
    workshop: Workshop,
    thresholds: Thresholds,
    told: Told,
    *,
    only: Collection[str] = (),
    by: str = INSTRUCTIONS,
    rounds: int = ROUNDS,
    least_gain: float = LEAST_GAIN,
    counters: bool = True,
    arguments: bool = False,
    turns: int = 0,
) -> Report:
    """`only`: these modules (default all). `turns`: of all versions, to compare cycles. Raises BareflowError."""
    if rounds < 1 or (by == CYCLES and turns < 1):
        raise UsageError("--rounds takes 1 or more, and so does --turns with --by cycles")
    if arguments and not counters:
        raise UsageError("arguments are counted together with blocks; give one of --arguments and --no-counters")
    told("the baselines: all modules at O0, O2 and O3")
    names = _asked(workshop.firmware, only)
    at_level = {level: _all_at(level, names) for level in BASELINES}
    runs = {level: measure.count(workshop.of_plan(choices)) for level, choices in at_level.items()}
    baselines = {level: run.per_call(names) for level, run in runs.items()}
    profile = signed(runs["O0"].modules, workshop.firmware).of(names)
    counting: dict[str, int] = {}
    if counters:
        told("the kernel that counts its blocks")
        counted, counting = workshop.count(names, arguments=arguments)
        profile = profile.counted(counted)

    reference = at_level[REFERENCE]
    compare = turns if by == CYCLES else 0
    search = _Search(workshop, plan.make(profile, thresholds), profile, reference, baselines[REFERENCE], compare)
    ways = [CLASSES]
    for way, (by_counts, constants, _) in HIGHEST.items():
        if (counters or not by_counts) and (arguments or not constants):
            ways.append(way)
    tried: list[Round] = []
    for way in ways[:rounds]:
        tried.append(search.round(way))
        told(f"round {tried[-1].number}, {way}: {tried[-1].gain:+.2%}; put back {len(tried[-1].put_back)}")
        # The first round begins with less than the reference where a module is not hot.
        if len(tried) > 1 and tried[-1].gain < least_gain:
            break
    converged = len(tried) == len(ways) or (len(tried) > 1 and tried[-1].gain < least_gain)

    cycles: dict[str, dict[str, Span]] = {}
    noise: dict[str, float] = {}
    put_back: tuple[str, ...] = ()
    if turns:
        told(f"cycles: in one boot, {len(at_level) + 1} versions of each module in turn, {turns} times")
        cycles, noise = workshop.compare({**at_level, BEST: list(search.best.values())}, turns)
        put_back = search.put_back(cycles, noise)
    final = search.best_plan(tried)
    told("the best of all, twice")
    best = workshop.of_plan(final.choices)
    first, second = (measure.count(best).per_call(names) for _ in range(2))
    return Report(
        by=by,
        profile=profile,
        baselines=baselines,
        rounds=tuple(tried),
        converged=converged,
        put_back=put_back,
        plan=final,
        instructions=first,
        equal=first == second,
        images=workshop.sizes(final.choices),
        reference_images=workshop.sizes(reference),
        counting=counting,
        cycles=cycles,
        noise=noise,
        turns=turns,
    )


@dataclass
class _Search:
    """The best way so far to compile each module."""

    workshop: Workshop
    plan: Plan
    profile: InitVar[Profile]
    reference: list[Choice]
    """Where it begins."""
    begin_with: InitVar[Mapping[str, int]]
    """Instructions of a call, of these."""
    turns: int
    """In which cycles are compared; 0 = instructions are."""
    best: dict[str, Choice] = field(init=False)
    returned: dict[str, str] = field(default_factory=dict)
    """What was put back at the end, and why."""
    number: int = 0

    def __post_init__(self, profile: Profile, begin_with: Mapping[str, int]) -> None:
        self.best = {choice.name: choice for choice in self.reference}
        self.costs = {cost.name: cost for cost in profile.costs}
        self.began = _spans(begin_with)
        self.now = dict(self.began)
        self.noise: dict[str, float] = {}

    def round(self, way: str) -> Round:
        """Compiles, measures, keeps what is better. Raises BareflowError."""
        self.number += 1
        proposed = self.plan.with_choices(self._tried(choice, way) for choice in self.plan.choices)
        seen = self._measured(proposed.choices)
        before, put_back = dict(self.now), []
        for choice in proposed.choices:
            name, now = choice.name, self.now[choice.name]
            if self._is_better(choice, seen[name]):
                self.best[name], self.now[name] = choice, seen[name]
            elif now.better_than(seen[name], self._same(name)):
                more = seen[name].median / now.median - 1
                put_back.append(f"{name} ({more:+.1%} at {choice.how}) to {self.best[name].how}")
        return Round(
            number=self.number,
            trying=way,
            plan=proposed,
            cost={name: round(span.median) for name, span in seen.items()},
            over_reference=_times(self.began, seen),
            put_back=tuple(put_back),
            gain=_times(before, self.now) - 1,
        )

    def _measured(self, tried: Iterable[Choice]) -> dict[str, Span]:
        """What is tried. In cycles the best and the reference are measured in the same turns: the host changes."""
        if not self.turns:
            return _spans(measure.count(self.workshop.of_plan(tried)).per_call(self.best))
        ways = {REFERENCE: self.reference, "tried": list(tried), BEST: list(self.best.values())}
        found, self.noise = self.workshop.compare(ways, self.turns)
        self.began, self.now = found[REFERENCE], found[BEST]
        return found["tried"]

    def _same(self, name: str) -> float:
        """Within which share of a call two versions of a module cost the same."""
        return max(SAME, self.noise.get(name, 0.0))

    def put_back(self, cycles: dict[str, dict[str, Span]], noise: Mapping[str, float]) -> tuple[str, ...]:
        """Takes the reference again, and its cycles, for what needs more than it for certain; says which."""
        for choice in self.reference:
            base, best = cycles[REFERENCE][choice.name], cycles[BEST][choice.name]
            if base.better_than(best, noise[choice.name]):
                more, how = best.median / base.median - 1, self.best[choice.name].how
                self.returned[choice.name] = f"{more:+.1%} cycles at {how}"
                self.best[choice.name], cycles[BEST][choice.name] = choice, base
        return tuple(f"{name} ({why}) to {self.best[name].how}" for name, why in self.returned.items())

    def best_plan(self, tried: Iterable[Round]) -> Plan:
        """The plan with the best of each, and the reason where that is not the plan's own."""
        tried = tuple(tried)
        return self.plan.with_choices(self._explained(choice, tried) for choice in self.plan.choices)

    def _tried(self, choice: Choice, way: str) -> Choice:
        """The choice of the plan, as this round has it; what never ran stays."""
        if way == CLASSES or choice.kind == plan.COLD:
            return choice
        by_counts, constants, unroll = HIGHEST[way]
        cost = self.costs[choice.name]
        counters, made_for = cost.counters if by_counts else (), cost.constants if constants else None
        return replace(choice, level=3, counters=counters, constants=made_for, unroll=unroll)

    def _explained(self, planned: Choice, tried: Iterable[Round]) -> Choice:
        best = self.best[planned.name]
        seen = {_how(one, best.name): one.cost[best.name] for one in tried}
        measured = ", ".join(f"{how} {cost:,}" for how, cost in seen.items())
        reason = f"{planned.reason}; {CYCLES if self.turns else INSTRUCTIONS} a call: {measured}"
        if best.name in self.returned:
            reason += f"; put back, {self.returned[best.name]}"
        if best.constants is not None:
            reason += f"; {best.constants.often}"
        return replace(
            planned,
            level=best.level,
            counters=best.counters,
            constants=best.constants,
            unroll=best.unroll,
            reason=reason,
        )

    def _is_better(self, choice: Choice, seen: Span) -> bool:
        now = self.now[choice.name]
        same = self._same(choice.name)
        if seen.better_than(now, same) or now.better_than(seen, same):
            return seen.median < now.median
        best = self.best[choice.name]
        return self.workshop.sizes((choice,))[choice.name] < self.workshop.sizes((best,))[choice.name]


def _spans(counted: Mapping[str, int]) -> dict[str, Span]:
    """Of one run that every other one equals."""
    return {name: Span(count, count, count, 1) for name, count in counted.items()}


def _times(before: Mapping[str, Span], now: Mapping[str, Span]) -> float:
    return geometric_mean(before[name].median / now[name].median for name in before)


def _asked(firmware: Firmware, only: Collection[str]) -> tuple[str, ...]:
    names = firmware.names()
    strange = [name for name in only if name not in names]
    if strange:
        raise UsageError(f"this kernel has no module {strange[0]}; it has {', '.join(names)}")
    return tuple(name for name in names if not only or name in only)


def _all_at(level: str, names: Iterable[str]) -> list[Choice]:
    return [Choice(name, "", int(level[1:]), (), 0, 0, f"all at {level}") for name in names]


def _how(one: Round, name: str) -> str:
    return next(choice.how for choice in one.plan.choices if choice.name == name)
