"""What changed between two results, and whether it is more than noise."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from portway.bench.measures import FIGURES
from portway.bench.stats import CERTAIN, ROUNDS_NEEDED, mann_whitney

Verdict = Literal["better", "worse", "noise", "too few rounds"]

# The one line about how it is judged.
HOW = (
    f"better, worse: Mann-Whitney over the rounds, p < {CERTAIN}; "
    f"it takes {ROUNDS_NEEDED} rounds on each side. noise: no more than chance does."
)


class Change(NamedTuple):
    name: str
    old: float
    new: float
    ratio: float | None
    p: float
    verdict: Verdict

    def json(self) -> dict[str, Any]:
        return self._asdict()


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Change]:
    """Of every figure that both have."""
    found = {}
    for name, figure in FIGURES.items():
        if name in old["figures"] and name in new["figures"]:
            before, after = old["figures"][name]["rounds"], new["figures"][name]["rounds"]
            was, now = statistics.median(before), statistics.median(after)
            p = mann_whitney(before, after)
            found[name] = Change(
                name, was, now, now / was if was else None, p, _verdict(before, after, p, figure.better)
            )
    return found


def _verdict(before: list[float], after: list[float], p: float, better: str) -> Verdict:
    if min(len(before), len(after)) < ROUNDS_NEEDED:
        return "too few rounds"
    was, now = statistics.median(before), statistics.median(after)
    if p >= CERTAIN or was == now:
        return "noise"
    return "better" if (now > was) == (better == "higher") else "worse"


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What else is not the same, so that figures may differ for it."""
    told = []
    for group, name in (("machine", "cores"), ("machine", "arch"), ("target", "url")):
        was, now = old.get(group, {}).get(name), new.get(group, {}).get(name)
        if was != now and not (name == "url" and new["target"]["local"] and old.get("target", {}).get("local")):
            told.append(f"{name} was {was}, is {now}")
    for name in ("secs", "connections", "rate", "streams"):
        was, now = old.get("settings", {}).get(name), new["settings"].get(name)
        if was != now:
            told.append(f"--{name} was {was}, is {now}")
    return told
