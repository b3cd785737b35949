"""How do a profile, a plan and what an optimisation gained become tables, and a record for report.json?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Any

from bareflow_gdb.guest.code.worth import CONFIDENCE
from bareflow_gdb.render.view import Cell, Value, View, facts, number, table

if TYPE_CHECKING:
    from bareflow_gdb.pgo.iterate import Report
    from bareflow_gdb.pgo.plan import Plan
    from bareflow_gdb.pgo.profile import Profile
    from bareflow_gdb.pgo.trend import Change, Trend

_SLOWER = 1.01


def profile_view(profile: Profile) -> View:
    """The costliest first."""
    costs = sorted(profile.costs, key=lambda cost: -cost.total)
    with_arguments = any(cost.arguments is not None for cost in costs)
    rows: list[tuple[Value | None, ...]] = [
        (
            *(cost.name, cost.calls, cost.total, number(cost.mean), cost.least, cost.most),
            sum(len(one.counts) for one in cost.counters) or None,
            *((cost.constants.often if cost.constants is not None else None,) if with_arguments else ()),
        )
        for cost in costs
    ]
    head = facts(("from", profile.source), ("unit", profile.unit))
    columns = "module|>calls|>in all|>a call|>~least|>~most|>blocks" + ("|called with" if with_arguments else "")
    return View("Profile", head, (table(columns, rows),))


def plan_view(plan: Plan) -> View:
    """The costliest first, as the plan has them."""
    rows = [(one.name, one.kind, one.how, one.calls, one.total, one.reason) for one in plan.choices]
    limits = plan.thresholds
    head = facts(
        ("profile", f"{plan.profile}, {plan.unit}"),
        ("hot", f"{limits.calls:,} calls or {limits.cost:,} {plan.unit}; ultra-hot {limits.factor} times as many"),
    )
    return View("Plan", head, (table("module|class|compiled|>calls|>in all|reason", rows),))


def applied_view(plan: Plan, images: Mapping[str, bytes]) -> View:
    """What was compiled."""
    rows = [(one.name, one.how, len(images[one.name])) for one in plan.choices]
    return View("Compiled", parts=(table("module|how|>bytes", rows),))


def report_views(report: Report) -> tuple[View, ...]:
    """What was gained, the plan, the rounds."""
    return (_gained(report), plan_view(report.plan), _rounds(report), *((_cycles(report),) if report.cycles else ()))


def _gained(report: Report) -> View:
    labels = tuple(report.baselines)
    rows: list[tuple[Value | None, ...]] = []
    for choice in report.plan.choices:
        now = report.instructions[choice.name]
        before = [report.baselines[label][choice.name] for label in labels]
        sizes = (report.reference_images[choice.name], report.images[choice.name])
        rows.append((choice.name, *before, now, *(_factor(one / now) for one in before), *sizes, choice.how))
    means = [_factor(report.factor(label)) for label in labels]
    totals = (sum(report.reference_images.values()), sum(report.images.values()))
    rows.append((Cell("geometric mean", "strong"), *("" for _ in labels), "", *means, *totals, ""))
    over = [f">over {label}" for label in labels]
    heads = ("module", *(f">all {label}" for label in labels), ">optimised", *over, ">bytes O2", ">bytes", "compiled")
    columns = "|".join(heads)
    slower = [
        f"{name} needs {more:.2f} times the instructions of its O2"
        for name, more in report.slower("O2").items()
        if more > _SLOWER and report.by == "instructions"
    ]
    twice = "equal to the instruction" if report.equal else "NOT equal: what differs is interrupts at other moments"
    notes = (
        f"Instructions of the least of {report.calls} calls under QEMU's -icount; two runs were {twice}.",
        *_counting(report),
    )
    title = "What was gained, in instructions of a call"
    return View(title, parts=(table(columns, rows),), problems=tuple(slower), notes=notes)


def _counting(report: Report) -> list[str]:
    if not report.counting:
        return []
    base = report.baselines["O2"]
    more = [report.counting[name] / base[name] for name in base if name in report.counting]
    return [f"The kernel that counts its blocks needs {median(more):.2f} times the instructions of O2 (median)"]


def _factor(value: float) -> Cell:
    return Cell(f"{value:.2f}", "bad" if value < 0.995 else "good" if value > 1.005 else "")


def _rounds(report: Report) -> View:
    rows = [
        (one.number, one.trying, _factor(one.over_reference), f"{one.gain:+.2%}", len(one.put_back))
        for one in report.rounds
    ]
    last = [f"at the end put back: {line}" for line in report.put_back]
    lines = [f"round {one.number} put back: {line}" for one in report.rounds for line in one.put_back]
    put_back = "\n".join((*lines, *last))
    each: list[tuple[Value | None, ...]] = [
        (choice.name, *(one.cost[choice.name] for one in report.rounds), choice.how) for choice in report.plan.choices
    ]
    columns = "|".join(("module", *(f">{one.trying}" for one in report.rounds), "best"))
    end = "until less was gained than was asked for" if report.converged else "as many as were asked for"
    notes = (f"{len(report.rounds)} rounds, {end}. Over O2: of all modules compiled so; gain: over the best before.",)
    costs = table(columns, each, f"{report.by.capitalize()} of a call")
    parts = (table(">round|tried|>over O2|>gain|>put back", rows), put_back, costs)
    return View("Rounds", parts=parts, notes=notes)


def _cycles(report: Report) -> View:
    labels = [label for label in report.cycles if label != "best"]
    rows: list[tuple[Value | None, ...]] = []
    for choice in report.plan.choices:
        best = report.cycles["best"][choice.name]
        others = [report.cycles[label][choice.name] for label in labels]
        shown = [f"{one.median:,.0f} ({one.low:,}-{one.high:,})" for one in (*others, best)]
        rows.append((choice.name, *shown, *(_factor(one.median / best.median) for one in others)))
    means = [_factor(report.cycles_factor(label)) for label in labels]
    rows.append((Cell("geometric mean", "strong"), *("" for _ in labels), "", *means))
    heads = ("module", *(f">all {label}" for label in labels), ">optimised", *(f">over {label}" for label in labels))
    columns = "|".join(heads)
    worst = max(report.noise, key=lambda name: report.noise[name])
    notes = (
        f"In one boot, each module's versions in turn, {report.turns} times, each time in another order: the median "
        f"of up to 32 calls of each, and where it lies with {CONFIDENCE:.0%}.",
        f"Two versions of equal code differ by {median(report.noise.values()):.1%} (median), at most by "
        f"{report.noise[worst]:.1%} ({worst}). It is the host's clock under emulation.",
        *(("What was put back has the figures of O2.",) if report.put_back else ()),
    )
    return View("The same in cycles", parts=(table(columns, rows),), notes=notes)


def report_record(report: Report) -> dict[str, Any]:
    """As report.json has it."""
    return {
        "report_version": 2,
        "by": report.by,
        "put_back": list(report.put_back),
        "converged": report.converged,
        "equal_runs": report.equal,
        "calls": report.calls,
        "factors": {label: round(report.factor(label), 4) for label in report.baselines},
        "instructions": {**report.baselines, "optimised": report.instructions, "counting": report.counting},
        "bytes": {"O2": report.reference_images, "optimised": report.images},
        "rounds": [
            {
                "number": one.number,
                "tried": one.trying,
                "over_o2": round(one.over_reference, 4),
                "gain": round(one.gain, 5),
                "put_back": list(one.put_back),
                "cost": one.cost,
            }
            for one in report.rounds
        ],
        "cycles": {
            label: {
                name: {"median": c.median, "low": c.low, "high": c.high, "samples": c.samples} for name, c in of.items()
            }
            for label, of in report.cycles.items()
        },
        "noise": {name: round(share, 5) for name, share in report.noise.items()},
        "turns": report.turns,
        "plan": report.plan.to_json(),
    }


def trend_view(trend: Trend, regressions: Mapping[str, Change]) -> View:
    """A line for each change, and one for each module that has none."""
    rows: list[tuple[Value | None, ...]] = []
    for module in trend.modules:
        if not module.changes:
            rows.append((module.name, len(module.costs), *_ends(module.costs), None, None, "no change"))
        for change in module.changes:
            more = Cell(f"{change.more:+.1%}", "bad" if change.more > 0 else "good")
            levels = (round(change.before), round(change.after))
            rows.append((module.name, len(module.costs), *levels, more, change.build, change.what))
    head = facts(("builds", f"{len(trend.builds)}, {trend.builds[0]} to {trend.builds[-1]}"), ("unit", trend.unit))
    problems = tuple(
        f"{name} costs {change.more:.1%} more since {change.build} ({change.what})"
        for name, change in regressions.items()
    )
    columns = "module|>~builds|>before|>after|>change|since|what else changed"
    return View("Cost of a call, build by build", head, (table(columns, rows),), problems, trend.notes)


def _ends(costs: Sequence[int]) -> tuple[int | None, int | None]:
    return (costs[0], costs[-1]) if costs else (None, None)
