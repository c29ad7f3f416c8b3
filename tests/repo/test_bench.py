"""How figures become tables; measuring itself is no test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench import peers, picture, report
from harness.need import ROOT


def result() -> dict[str, object]:
    figures: peers.Figures = {
        "nginx_pair": {"http_rps": [1000.0, 2000.0, 4000.0], "rss_agent_idle_mb": [70.0, 70.0, 70.0]},
        "portway": {"http_rps": [900.0, 800.0, 1000.0], "rss_agent_idle_mb": [16.4, 16.5, 16.6]},
        "chisel": {"http_rps": [500.0]},
    }
    made = peers.summary(figures, rounds=3, secs=4)
    return {**made, "machine": "a machine", "left_out": ["bore"], "missed": {"chisel": 2}, "build": "release"}


def test_a_ratio_is_the_median_of_those_within_each_round() -> None:
    tools = result()["tools"]
    assert isinstance(tools, dict)
    # 0.9, 0.4 and 0.25; the ratio of the medians would be 0.45
    assert tools["portway"]["http_rps"]["ratio"] == {"median": 0.4, "low": 0.25, "high": 0.9}
    assert "ratio" not in tools["chisel"]["http_rps"], "it has not taken part in every round"


def test_goals_are_met_or_missed_by_name() -> None:
    told = dict(line.split(": ", 1) for line in report.goals(result()))
    assert told == {
        "MISSED requests/s": "0.40 × (0.25 to 0.90), wanted ≥ 1.2 ×",
        "MISSED agent idle, MB": "16.5, wanted ≤ 14",
    }


def test_a_table_shows_what_was_measured_and_says_what_was_not() -> None:
    rows = report.peers_table(result()).splitlines()
    assert rows[0] == "|  | nginx pair | portway | chisel |"
    assert "| requests/s, 64 connections | 2,000 ±75% | 900 ±11% | 500 |" in rows
    assert "| agent idle, MB resident | 70.0 | 16.5 ±1% | – |" in rows
    said = report.conditions(result())
    assert "chisel failed in 2 of them" in said
    assert "Not installed: bore" in said


def test_a_table_takes_the_place_of_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- peers -->\nold \\1\nolder\n<!-- /peers -->\nbehind\n")
    report.fill(page, "peers", "new \\1")
    assert page.read_text() == "before\n<!-- peers -->\nnew \\1\n<!-- /peers -->\nbehind\n"
    with pytest.raises(SystemExit, match="0 places named alone"):
        report.fill(page, "alone", "text")


def test_the_picture_shows_how_many_times_better_and_cuts_what_is_much_more() -> None:
    figures: peers.Figures = {
        "nginx_pair": {"http_rps": [1000.0], "rss_agent_idle_mb": [70.0], "p99_under_bulk_ms": [5.0]},
        "portway": {"http_rps": [1500.0], "rss_agent_idle_mb": [10.0], "p99_under_bulk_ms": [10.0]},
    }
    drawn = picture.svg(peers.summary(figures, rounds=1, secs=4))
    bars = re.findall(r'class="(better|worse)".*\n.*>([^<]*)</text>', drawn)
    assert bars == [("better", "1.50 ×"), ("worse", "0.50 ×"), ("better", "7.00 × →")]


@pytest.mark.parametrize(
    ("page", "marker"),
    [
        ("README.md", "peers"),
        ("bench/README.md", "peers"),
        ("bench/README.md", "alone"),
        ("README.md", "scenarios"),
        ("bench/README.md", "scenarios"),
    ],
)
def test_the_pages_have_the_places_to_fill(page: str, marker: str) -> None:
    text = (ROOT / page).read_text()
    assert text.count(f"<!-- {marker} -->\n") == text.count(f"<!-- /{marker} -->\n") == 1
