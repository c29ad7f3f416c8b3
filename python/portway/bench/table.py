"""The result as text: as wide as the terminal, colours on one that wants them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from portway.bench import compare

COLOURS = {"better": "32", "worse": "31", "title": "1", "dim": "2"}
NARROW = 60


def number(value: float) -> str:
    """Three figures, and no more than are worth reading."""
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def lines(
    result: Mapping[str, Any], changes: Mapping[str, compare.Change] | None, columns: int, colour: bool
) -> list[str]:
    def painted(text: str, name: str) -> str:
        return f"\x1b[{COLOURS[name]}m{text}\x1b[0m" if colour and name in COLOURS else text

    what = "edge, agent and upstream on this machine" if result["target"]["local"] else result["target"]["url"]
    settings = result["settings"]
    told = [painted(what, "title"), f"{settings['rounds']} rounds, {settings['secs']:.2g} s for each measurement"]
    wide = columns >= NARROW
    head = ["", "median", "lowest – highest"] if wide else ["", "median"]
    rows = [head + (["before", "change"] if changes is not None else [])]
    verdicts = [""]
    for name, figure in result["figures"].items():
        spread = f"{number(figure['low'])} – {number(figure['high'])}"
        row = [figure["label"], f"{number(figure['median'])} {figure['unit']}".replace(" /s", "")]
        change = (changes or {}).get(name)
        if wide:
            row.append(spread)
        if changes is not None:
            row += [number(change.old), changed(change)] if change else ["", "new"]
        rows.append(row)
        verdicts.append(change.verdict if change else "")
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    told.append("")
    for row, verdict in zip(rows, verdicts, strict=True):
        cells = [
            cell.ljust(width) if at == 0 else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        told.append(painted("  ".join(cells).rstrip(), verdict or ("dim" if row is rows[0] else "")))
    told.append("")
    for text in remarks(result, changes):
        told += textwrap.wrap(text, max(columns - 1, 20), break_long_words=False)
    return told


def changed(change: compare.Change) -> str:
    ratio = "" if change.ratio is None else f"{(change.ratio - 1) * 100:+.1f}% "
    return f"{ratio}{change.verdict}"


def remarks(result: Mapping[str, Any], changes: Mapping[str, compare.Change] | None) -> list[str]:
    """Sentences below the table."""
    told = []
    if memory := result["memory_mb"]:
        told.append("memory: " + ", ".join(f"{role} {number(mb)} MB" for role, mb in memory.items()))
    for measure, failures in result["failures"].items():
        count = sum(failures.values())
        why = ", ".join(f"{text} × {times:,}" for text, times in failures.items())
        told.append(f"{measure}: {count:,} failed ({why})")
    told += result["notes"]
    told.append("Latencies are corrected for coordinated omission: a stall counts for all it kept waiting.")
    if changes is not None:
        told.append(compare.HOW)
    if result["cut"]:
        told.append("Interrupted: these are the figures of what was measured until then.")
    return told
