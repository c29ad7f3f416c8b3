"""The result as a page to look at: one file, no script, nothing from elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from typing import Any

from portway.bench import compare
from portway.bench.measures import MEASURES
from portway.bench.table import changed, number, remarks

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>portway bench: {title}</title>
<style>
  :root {{ color-scheme: light dark; --back: #fff; --text: #1b1f24; --soft: #667; --line: #dde1e6; --main: #0b7a5c;
    --old: #b5651d; --good: #0b7a3c; --bad: #c02b2b; }}
  @media (prefers-color-scheme: dark) {{ :root {{ --back: #14181d; --text: #e6e9ed; --soft: #9aa4b0; --line: #2c333b;
    --main: #4fd1a5; --old: #f0a35e; --good: #5ed18a; --bad: #ff7b7b; }} }}
  body {{ font: 16px/1.5 system-ui, sans-serif; background: var(--back); color: var(--text); max-width: 60rem;
    margin: 0 auto; padding: 1.5rem 1rem 3rem; }}
  h1 {{ font-size: 1.5rem; margin: 0; overflow-wrap: anywhere; }}
  h2 {{ font-size: 1.1rem; margin: 2rem 0 .5rem; }}
  p {{ margin: .3rem 0; }}
  .soft, th, figcaption {{ color: var(--soft); }}
  .wide {{ overflow-x: auto; }}
  table {{ border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }}
  th, td {{ text-align: right; padding: .35rem .5rem; border-bottom: 1px solid var(--line); white-space: nowrap; }}
  th {{ font-weight: normal; }}
  th:first-child, td:first-child {{ text-align: left; padding-left: 0; white-space: normal; }}
  .better {{ color: var(--good); }} .worse {{ color: var(--bad); }}
  @media (max-width: 36rem) {{ th, td {{ padding: .35rem .3rem; }}
    .compared :is(th, td):nth-child(3) {{ display: none; }} }}
  .plots {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 20rem), 1fr)); gap: 1rem; }}
  figure {{ margin: 0; }}
  svg {{ width: 100%; height: auto; display: block; }}
  svg text {{ fill: var(--soft); font: 11px system-ui, sans-serif; }}
  .grid {{ stroke: var(--line); }}
  .new {{ stroke: var(--main); fill: none; stroke-width: 2; }} .was {{ stroke: var(--old); fill: none;
    stroke-width: 1.5; stroke-dasharray: 5 3; }}
  .dot {{ fill: var(--main); }} .olddot {{ fill: var(--old); }}
</style>
<h1>{title}</h1>
<p class="soft">{about}</p>
{warning}
<div class="wide"><table{compared}>{rows}</table></div>
{remarks}
<h2>Latency by percentile</h2>
<p class="soft">Milliseconds on a logarithmic scale.{legend}</p>
<div class="plots">{curves}</div>
<h2>Rounds</h2>
<p class="soft">Each dot is a round: how far they lie apart is what a change has to beat.</p>
<div class="plots">{dots}</div>
</html>
"""

WIDTH, HEIGHT = 360, 200
LEFT, RIGHT, TOP, BOTTOM = 48, 10, 10, 24
# Percentiles that are named below a curve.
NAMED = (50.0, 90.0, 99.0, 99.9, 99.99)


def page(result: Mapping[str, Any], old: Mapping[str, Any] | None, changes: Mapping[str, compare.Change] | None) -> str:
    settings, machine = result["settings"], result["machine"]
    title = "A tunnel on this machine" if result["target"]["local"] else result["target"]["url"]
    about = (
        f"{result['when']} · portway {result['portway']} · {machine['system']} {machine['arch']}, "
        f"{machine['cores']} cores · {settings['rounds']} rounds of {settings['secs']:.2g} s · "
        f"{settings['connections']} connections"
    )
    broken = f'<p class="worse">{escape(result["broken"])}</p>' if result["broken"] else ""
    before = (old or {}).get("curves_ms", {})
    figures_before = (old or {}).get("figures", {})
    return PAGE.format(
        title=escape(title),
        about=escape(about),
        warning=broken,
        compared=' class="compared"' if changes is not None else "",
        rows=_rows(result, changes),
        remarks="".join(f"<p class=soft>{escape(text)}</p>" for text in remarks(result, changes)),
        legend=" Dashed: before." if old else "",
        curves="".join(
            _figure(MEASURES[name].label, _curve(curve, before.get(name, [])))
            for name, curve in result["curves_ms"].items()
            if curve and name in MEASURES
        ),
        dots="".join(
            _figure(
                f"{one['label']}, {one['unit']}", _dots(one["rounds"], figures_before.get(name, {}).get("rounds", []))
            )
            for name, one in result["figures"].items()
        ),
    )


def _rows(result: Mapping[str, Any], changes: Mapping[str, compare.Change] | None) -> str:
    head = ["", "median", "lowest – highest", *(["before", "change"] if changes is not None else [])]
    rows = ["<tr>" + "".join(f"<th>{cell}</th>" for cell in head)]
    for name, one in result["figures"].items():
        cells = [
            escape(one["label"]),
            f"{number(one['median'])} {escape(one['unit'])}".replace(" /s", ""),
            f"{number(one['low'])} – {number(one['high'])}",
        ]
        change = (changes or {}).get(name)
        kind = ""
        if changes is not None:
            cells += [number(change.old), changed(change)] if change else ["", "new"]
            kind = f' class="{change.verdict}"' if change and change.verdict in ("better", "worse") else ""
        rows.append(f"<tr{kind}>" + "".join(f"<td>{cell}</td>" for cell in cells))
    return "\n".join(rows)


def _figure(caption: str, svg: str) -> str:
    return f"<figure>{svg}<figcaption>{escape(caption)}</figcaption></figure>"


def _svg(inside: list[str], height: int, label: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(label)}">{"".join(inside)}</svg>'


def _along(percentile: float) -> float:
    """Each further nine takes as much room as the one before."""
    nines = -math.log10(1 - min(percentile, 99.995) / 100)
    return LEFT + (WIDTH - LEFT - RIGHT) * nines / -math.log10(1 - 99.995 / 100)


def _curve(new: list[list[float]], old: list[list[float]]) -> str:
    values = [max(ms, 0.001) for _, ms in [*new, *old]]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    high = max(high, low + 1)

    def up(ms: float) -> float:
        share = (math.log10(max(ms, 0.001)) - low) / (high - low)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share

    inside = []
    for power in range(low, high + 1):
        y = up(10.0**power)
        inside.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        inside.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g}</text>')
    for percentile in NAMED:
        at = f'x="{_along(percentile):.1f}" y="{HEIGHT - 6}"'
        inside.append(f'<text {at} text-anchor="middle">p{percentile:g}</text>')
    for kind, curve in (("was", old), ("new", new)):
        if curve:
            points = " ".join(f"{_along(percentile):.1f},{up(ms):.1f}" for percentile, ms in curve)
            inside.append(f'<polyline class="{kind}" points="{points}"/>')
    return _svg(inside, HEIGHT, "latency by percentile")


def _dots(new: list[float], old: list[float]) -> str:
    least, most = min([*new, *old]), max([*new, *old])
    room = (most - least) * 0.1 or abs(most) * 0.1 or 1
    low, high = least - room, most + room
    rows = [("olddot", old), ("dot", new)] if old else [("dot", new)]
    height = 18 + 18 * len(rows)

    def x(value: float) -> float:
        return 20 + (WIDTH - 40) * (value - low) / (high - low)

    inside = [f'<line class="grid" x1="20" x2="{WIDTH - 20}" y1="{height - 16}" y2="{height - 16}"/>']
    for at, (kind, values) in enumerate(rows):
        inside += [f'<circle class="{kind}" cx="{x(value):.1f}" cy="{8 + 18 * at}" r="4"/>' for value in values]
    for value, anchor in ((least, "start"), (most, "end")) if least < most else ((least, "middle"),):
        inside.append(f'<text x="{x(value):.1f}" y="{height - 3}" text-anchor="{anchor}">{number(value)}</text>')
    return _svg(inside, height, "rounds")
