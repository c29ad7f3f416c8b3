"""Makes docs/pictures/first_run.svg: a first run, as two terminals show it. Nothing in it is written by hand.

usage: .venv/bin/python docs/pictures/first_run.py      needs port 8080, where the example's upstream listens
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from harness.edge import isolated  # noqa: E402 - found where this checkout is
from harness.process import Process, portway  # noqa: E402
from harness.terminal import Terminal  # noqa: E402

COLUMNS, ROWS = 126, 18
SHELL = ("bash", "--norc", "--noprofile", "-i")
# Of one character, in the units of the picture.
WIDTH, HEIGHT, MARGIN, BAR = 8.4, 18, 14, 30
BACK, FRAME, TEXT = "#16181d", "#2b2f38", "#d5d8de"
COLOURS = {"default": TEXT, "green": "#63c995", "red": "#f2777a", "brown": "#e2b86b", "cyan": "#6cc7d9"}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "hello.txt").write_text("Hello from my laptop!\n")
        upstream = Process("upstream", [sys.executable, "-um", "http.server", "8080", "--bind", "127.0.0.1"], cwd=home)
        upstream.wait_line("that it serves", lambda line: True if line.startswith("Serving") else None)
        try:
            panes = run(home)
        finally:
            upstream.stop()
    picture = Path(__file__).with_suffix(".svg")
    picture.write_text(svg(panes))
    print(picture.relative_to(ROOT))


def run(home: Path) -> list[tuple[str, list[str]]]:
    """The two screens as rows of SVG, each with the command that fills it."""
    path = f"{Path(portway()[0]).parent}:{os.environ['PATH']}"
    env = {**isolated(home / "home"), "PS1": "$ ", "PATH": path}
    agent = Terminal(["portway", "http", "8080"], env=env, columns=COLUMNS, rows=ROWS)
    visitor = Terminal(SHELL, env=env, columns=COLUMNS, rows=4)
    try:
        shown = agent.wait("the URL", lambda text: "Forwarding" in text and "online" in text)
        url = re.findall(r"http://\S+\.localhost\S*", shown)[0]
        visitor.wait("a prompt", lambda text: "$" in text)
        visitor.type(f"curl {url}/hello.txt\n".encode())
        visitor.wait("an answer", lambda text: "Hello" in text)
        subprocess.run(["curl", "-sS", "-o", os.devnull, f"{url}/nothing-here"], check=True)
        agent.wait("both requests", lambda text: "hello.txt" in text and "nothing-here" in text)
        panes = [("portway http 8080", list(rows(agent))), ("bash", list(rows(visitor)))]
        agent.type(b"\x03")
        agent.end()
        return panes
    finally:
        agent.stop()
        visitor.stop()


def rows(terminal: Terminal) -> Iterator[str]:
    """Its rows down to the last that is not empty, as `tspan`s of one style each."""
    shown = [terminal.screen.buffer[y] for y in range(terminal.screen.lines)]
    texts = [line.rstrip() for line in terminal.screen.display]
    last = max(number for number, text in enumerate(texts) if text)
    for cells, text in zip(shown[: last + 1], texts, strict=False):
        spans = []
        cut = [cells[x] for x in range(len(text))]
        for (fg, bold), run_of in groupby(cut, lambda cell: (cell.fg, cell.bold)):
            weight = ' font-weight="bold"' if bold else ""
            words = escape("".join(cell.data for cell in run_of))
            spans.append(f'<tspan fill="{COLOURS.get(fg) or f"#{fg}"}"{weight}>{words}</tspan>')
        yield "".join(spans)


def svg(panes: list[tuple[str, list[str]]]) -> str:
    width = COLUMNS * WIDTH + 2 * MARGIN
    parts, top = [], 0.0
    for title, lines in panes:
        height = BAR + len(lines) * HEIGHT + 2 * MARGIN
        parts.append(f'<rect y="{top:g}" width="{width:g}" height="{height:g}" rx="8" fill="{BACK}" stroke="{FRAME}"/>')
        parts.append(f'<rect y="{top:g}" width="{width:g}" height="{BAR}" rx="8" fill="{FRAME}"/>')
        parts.append(f'<text x="{width / 2:g}" y="{top + 20:g}" text-anchor="middle" fill="{TEXT}">{title}</text>')
        for number, line in enumerate(lines):
            y = top + BAR + MARGIN + (number + 0.75) * HEIGHT
            parts.append(f'<text x="{MARGIN}" y="{y:g}" xml:space="preserve">{line}</text>')
        top += height + MARGIN
    font = "ui-monospace, SFMono-Regular, Menlo, Consolas, DejaVu Sans Mono, monospace"
    size = f'viewBox="-1 -1 {width + 2:g} {top - MARGIN + 2:g}" font-family="{font}" font-size="14"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n' + "\n".join(parts) + "\n</svg>\n"


if __name__ == "__main__":
    main()
