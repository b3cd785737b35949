"""One figure of a benchmark, its goal, and what stands beside it."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]


def row(
    name: str,
    value: float,
    unit: str,
    goal: float | None = None,
    better: str = "higher",
    peer: str | None = None,
    peer_value: float | None = None,
) -> Row:
    """As `bench.run` shows and writes it. better: "higher" or "lower"; without a goal nothing can be missed."""
    met = goal is None or (value >= goal if better == "higher" else value <= goal)
    told = {"name": name, "value": round(value, 3), "unit": unit, "goal": goal, "better": better, "met": met}
    return {**told, "peer": peer, "peer_value": peer_value}
