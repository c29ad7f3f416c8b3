"""What a run found, and the JSON it is kept in. Fields are only ever added; `SCHEMA` counts what breaks readers."""

from __future__ import annotations

import json
import os
import platform
import statistics
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from portway import __version__
from portway.bench import BenchError
from portway.bench.measures import FIGURES

SCHEMA = 1
Curve = list[tuple[float, float]]


@dataclass
class Result:
    url: str
    local: bool
    settings: dict[str, Any]
    rounds: dict[str, list[float]] = field(default_factory=dict)
    """Of each figure, a value for each round."""
    curves: dict[str, list[Curve]] = field(default_factory=dict)
    """Of each measure, a latency curve for each round: percentile, ms."""
    requests: dict[str, int] = field(default_factory=dict)
    failures: dict[str, dict[str, int]] = field(default_factory=dict)
    memory_mb: dict[str, float] = field(default_factory=dict)
    """Of each local process, the most that was seen."""
    cut: bool = False
    broken: str = ""
    """Why it ended before its time, where not by the user."""
    notes: list[str] = field(default_factory=list)

    def add(self, figures: dict[str, float]) -> None:
        for name, value in figures.items():
            self.rounds.setdefault(name, []).append(value)

    def curve(self, measure: str) -> Curve:
        """The median of the rounds at each percentile."""
        rounds = [curve for curve in self.curves.get(measure, []) if curve]
        return [(same[0][0], statistics.median(value for _, value in same)) for same in zip(*rounds, strict=False)]

    def json(self) -> dict[str, Any]:
        figures = {}
        for name, figure in FIGURES.items():
            if values := self.rounds.get(name):
                figures[name] = {
                    "label": figure.label,
                    "unit": figure.unit,
                    "better": figure.better,
                    "median": _short(statistics.median(values)),
                    "low": _short(min(values)),
                    "high": _short(max(values)),
                    "rounds": [_short(value) for value in values],
                }
        return {
            "portway_bench": SCHEMA,
            "portway": __version__,
            "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "machine": {"system": platform.system(), "arch": platform.machine(), "cores": os.cpu_count()},
            "target": {"url": self.url, "local": self.local},
            "settings": self.settings,
            "figures": figures,
            "curves_ms": {
                name: [[percentile, _short(ms)] for percentile, ms in self.curve(name)] for name in self.curves
            },
            "requests": self.requests,
            "failures": self.failures,
            "memory_mb": {name: _short(value) for name, value in self.memory_mb.items()},
            "cut": self.cut,
            "broken": self.broken,
            "notes": self.notes,
        }


def _short(value: float) -> float:
    return float(f"{value:.5g}")


def load(path: Path) -> dict[str, Any]:
    """A result that was kept."""
    try:
        read = json.loads(path.read_text())
    except ValueError:
        raise BenchError(f"{path} is no result of portway bench: it is no JSON") from None
    if not isinstance(read, dict) or "portway_bench" not in read:
        raise BenchError(f"{path} is no result of portway bench")
    if read["portway_bench"] != SCHEMA:
        raise BenchError(f"{path} was made by another version of portway bench: measure again")
    figures = read.get("figures")
    if not isinstance(figures, dict) or not all(_sound(one) for one in figures.values()):
        raise BenchError(f"{path} is no result of portway bench: its figures cannot be read")
    return read


def _sound(figure: Any) -> bool:
    rounds = figure.get("rounds") if isinstance(figure, dict) else None
    return isinstance(rounds, list) and bool(rounds) and all(type(one) in (int, float) for one in rounds)
