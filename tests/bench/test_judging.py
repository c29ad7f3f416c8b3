"""What a result says and how two are compared; nothing is measured here."""

from __future__ import annotations

import json
import math
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from portway.bench import BenchError, compare, page, table
from portway.bench.measures import figures
from portway.bench.result import Result, load
from portway.bench.stats import mann_whitney, ranks
from portway.bench.target import parse


def result(**rounds: list[float]) -> dict[str, Any]:
    settings = {"rounds": 5, "secs": 1.0, "connections": 64, "streams": 1, "rate": None, "measures": ["rps"]}
    made = Result("http://x.localhost/", False, settings, dict(rounds))
    made.curves["rps"] = [[(0.0, 1.0), (50.0, 2.0), (100.0, 9.0)], [(0.0, 1.5), (50.0, 4.0), (100.0, 11.0)]]
    return made.json()


SLOW = [100.0, 101.0, 102.0, 103.0, 104.0]
FAST = [200.0, 201.0, 202.0, 203.0, 204.0]

# === statistics


def test_equal_values_share_the_mean_of_their_ranks() -> None:
    assert ranks([3, 1, 3, 2]) == [3.5, 1, 3.5, 2]


def test_the_certainty_of_a_difference_is_that_of_the_textbook() -> None:
    # Of the 252 orders of five and five, two part them entirely.
    assert mann_whitney(SLOW, FAST) == pytest.approx(2 / 252)
    assert mann_whitney([1, 2, 3], [4, 5, 6]) == pytest.approx(2 / 20)
    assert mann_whitney([5, 5, 5], [5, 5, 5]) == 1.0


def test_the_order_of_rounds_and_of_results_says_nothing() -> None:
    for old in permutations([1.0, 4.0, 6.0]):
        assert mann_whitney(old, [2, 3, 7, 8]) == pytest.approx(mann_whitney([8, 7, 3, 2], [1, 4, 6]))


def test_many_rounds_are_judged_like_few() -> None:
    old, new = [float(one % 17) for one in range(60)], [float(one % 17 + 1) for one in range(60)]
    assert 0.001 < mann_whitney(old, new) < 0.5
    assert mann_whitney(old, [one + 100 for one in new]) < 1e-6
    assert mann_whitney(old, old) == pytest.approx(1.0, abs=0.01)


# === comparison


@pytest.mark.parametrize(
    ("name", "old", "new", "verdict"),
    [
        ("rps", SLOW, FAST, "better"),
        ("rps", FAST, SLOW, "worse"),
        ("latency_p50", SLOW, FAST, "worse"),
        ("latency_p50", FAST, SLOW, "better"),
        ("rps", SLOW, SLOW, "noise"),
        ("rps", SLOW, [99.0, 105.0, 101.5, 103.5, 100.5], "noise"),
        ("rps", SLOW[:4], FAST[:4], "too few rounds"),
    ],
)
def test_a_change_is_told_from_noise(name: str, old: list[float], new: list[float], verdict: str) -> None:
    change = compare.changes(result(**{name: old}), result(**{name: new}))[name]
    assert change.verdict == verdict


def test_only_what_both_have_is_compared() -> None:
    assert set(compare.changes(result(rps=SLOW, up=SLOW), result(rps=SLOW, down=SLOW))) == {"rps"}


def test_other_settings_are_named_for_they_explain_differences() -> None:
    old, new = result(rps=SLOW), result(rps=SLOW)
    assert compare.differences(old, new) == []
    new["settings"]["connections"] = 8
    assert compare.differences(old, new) == ["--connections was 64, is 8"]


# === results


def test_the_json_has_the_fields_programs_rely_on() -> None:
    made = result(rps=SLOW)
    assert set(made) == {
        *("portway_bench", "portway", "when", "machine", "target", "settings", "figures", "curves_ms", "requests"),
        *("failures", "memory_mb", "cut", "broken", "notes"),
    }
    assert made["portway_bench"] == 1
    assert made["figures"]["rps"] == {
        "label": "requests/s",
        "unit": "/s",
        "better": "higher",
        "median": 102.0,
        "low": 100.0,
        "high": 104.0,
        "rounds": SLOW,
    }
    assert made["curves_ms"]["rps"] == [[0.0, 1.25], [50.0, 3.0], [100.0, 10.0]]


def test_a_measurement_becomes_figures_in_the_units_they_are_told_in() -> None:
    latency = {"p50": 1500, "p90": 2000, "p99": 9000}
    done = {"secs": 2.0, "requests": 1000, "bytes": 0, "latency_us": latency}
    found = figures("rps", done, cpu_secs=0.1)
    assert found == {"rps_p50": 1.5, "rps_p99": 9.0, "rps": 500.0, "rps_cpu": pytest.approx(100)}
    found = figures("down", {"secs": 2.0, "requests": 0, "bytes": 3_000_000_000, "latency_us": None}, cpu_secs=6.0)
    assert found == {"down": 1500.0, "down_cpu": 2.0}
    assert figures("rps", {"secs": 2.0, "requests": 0, "bytes": 0, "latency_us": None}, 1.0) == {}


def test_a_kept_result_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    path.write_text(json.dumps(result(rps=SLOW)))
    assert load(path)["figures"]["rps"]["rounds"] == SLOW


@pytest.mark.parametrize(
    "text",
    [
        *("{", "[]", "{}", '{"portway_bench": 99}', '{"portway_bench": 1}'),
        *('{"portway_bench": 1, "figures": {"rps": {"rounds": []}}}', '{"portway_bench": 1, "figures": {"rps": 3}}'),
    ],
)
def test_what_is_no_result_is_refused_by_name(text: str, tmp_path: Path) -> None:
    path = tmp_path / "kept.json"
    path.write_text(text)
    with pytest.raises(BenchError, match=r"kept\.json"):
        load(path)


# === shown


def test_a_table_fits_its_terminal_and_has_colours_where_they_are_wanted() -> None:
    new = result(rps=FAST, latency_p99=SLOW)
    changes = compare.changes(result(rps=SLOW), new)
    wide = table.lines(new, changes, 100, colour=False)
    assert any("+98.0% better" in line and "requests/s" in line for line in wide)
    assert "\x1b" not in "".join(wide)
    assert "\x1b[32m" in "".join(table.lines(new, changes, 100, colour=True))
    narrow = table.lines(new, None, 40, colour=False)
    assert all(len(line) <= 40 for line in narrow if "requests/s" in line or "p99" in line)


def test_figures_have_no_more_digits_than_are_worth_reading() -> None:
    assert [table.number(one) for one in (0.1234, 12.34, 123.4, 1234.5, 123456.0)] == [
        *("0.12", "12.3", "123", "1,234", "123,456"),
    ]


def test_a_page_shows_nothing_it_was_given_as_markup() -> None:
    made = result(rps=SLOW)
    made["target"]["url"] = made["broken"] = "<script>alert(1)</script>"
    made["failures"] = {"rps": {"<b>": 1}}
    text = page.page(made, None, None)
    assert "<script" not in text
    assert "<b>" not in text
    assert "default-src 'none'" in text


def test_a_page_of_equal_rounds_can_be_drawn() -> None:
    text = page.page(result(rps=[0.0, 0.0], up=[5.0]), None, None)
    assert "nan" not in text
    assert not math.isnan(text.count("<circle"))
    assert text.count("<circle") == 3


# === targets


@pytest.mark.parametrize(
    ("typed", "url", "port"),
    [
        ("https://shop.example.com", "https://shop.example.com/", 443),
        ("shop.example.com", "https://shop.example.com/", 443),
        ("localhost:8080/a?b=c", "http://localhost:8080/a?b=c", 8080),
        ("shop.localhost", "http://shop.localhost/", 80),
        ("HTTP://[::1]:80", "http://[::1]/", 80),
        ("http://bücher.example/ä", "http://xn--bcher-kva.example/%C3%A4", 80),
    ],
)
def test_a_url_is_read_as_it_is_typed(typed: str, url: str, port: int) -> None:
    target = parse(typed)
    assert (target.url, target.port) == (url, port)


@pytest.mark.parametrize(
    "typed", ["", "https://", "tcp://x:1", "http://x:99999", "http://a b", "http://u:p@x", "http://x:0", "http://[::1"]
)
def test_what_is_no_url_is_refused(typed: str) -> None:
    with pytest.raises(BenchError):
        parse(typed)
