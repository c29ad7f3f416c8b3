"""Figures of bench/results/peers.json as a picture for README.md: each as a multiple of the pair of nginx."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any, NamedTuple

WIDTH, LABEL, RIGHT = 760, 250, 90
ROW, TOP, BOTTOM = 30, 74, 34
STYLE = """
  text { font: 14px system-ui, sans-serif; fill: #1f2328 }
  .title { font-size: 16px; font-weight: 600 }
  .note { font-size: 12px; fill: #59636e }
  .better { fill: #2da44e } .worse { fill: #bf8700 } .line { stroke: #59636e }
  .back { fill: #ffffff }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .note { fill: #9198a1 } .line { stroke: #9198a1 } .back { fill: #0d1117 }
    .better { fill: #3fb950 } .worse { fill: #d29922 }
  }
"""


class Bar(NamedTuple):
    key: str
    title: str
    less: bool = False
    """Less is better: the bar shows how many times less it is."""


BARS = (
    Bar("http_rps", "requests/s, 64 connections"),
    Bar("cpu_us_per_req", "CPU for a request", less=True),
    Bar("newconn_rps", "new connections/s"),
    Bar("down1_gbps", "bulk down"),
    Bar("up1_gbps", "bulk up"),
    Bar("down1_cpu_s_per_gb", "CPU for a GB", less=True),
    Bar("p99_under_bulk_ms", "latency beside bulk, p99", less=True),
    Bar("rss_agent_idle_mb", "memory of an idle agent", less=True),
)


def svg(result: Mapping[str, Any]) -> str:
    """The whole file. `result`: what bench/peers.py has written."""
    ours = result["tools"]["portway"]
    rows = [(bar, _times(bar, ours[bar.key])) for bar in BARS if "ratio" in ours.get(bar.key, {})]
    # A bar that is cut says so; else one large figure would hide the others.
    most = 4.0
    scale = (WIDTH - LABEL - RIGHT) / most
    height = TOP + ROW * len(rows) + BOTTOM
    explained = "How many times better; 1 is the pair of nginx, on the same machine in the same run."
    made = f"Medians of {result['rounds']} rounds; bench/README.md has all figures and their spread."
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>portway beside a pair of nginx</title><style>{STYLE}</style>",
        f'<rect class="back" width="{WIDTH}" height="{height}" rx="8"/>',
        '<text class="title" x="20" y="30">portway beside a pair of nginx that passes TLS</text>',
        f'<text class="note" x="20" y="50">{explained}</text>',
    ]
    for index, (bar, times) in enumerate(rows):
        y = TOP + ROW * index
        kind = "better" if times >= 1 else "worse"
        length = min(times, most) * scale
        cut = " →" if times > most else ""
        parts += [
            f'<text x="{LABEL - 12}" y="{y + 15}" text-anchor="end">{escape(bar.title)}</text>',
            f'<rect class="{kind}" x="{LABEL}" y="{y}" width="{length:.0f}" height="20" rx="3"/>',
            f'<text x="{LABEL + length + 8:.0f}" y="{y + 15}">{times:.2f} ×{cut}</text>',
        ]
    one, end = LABEL + scale, TOP + ROW * len(rows)
    parts += [
        f'<line class="line" x1="{one:.0f}" x2="{one:.0f}" y1="{TOP - 8}" y2="{end}" stroke-dasharray="3 3"/>',
        f'<text class="note" x="20" y="{end + 18}">{made}</text>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _times(bar: Bar, figure: Mapping[str, Any]) -> float:
    ratio = float(figure["ratio"]["median"])
    if not bar.less:
        return ratio
    return 1 / ratio if ratio else float("inf")
