"""The reference of `portway bench` has every flag, measurement and field, and nothing else."""

from __future__ import annotations

from harness.pages import code, tables
from portway.bench.measures import MEASURES
from portway.bench.result import Result
from portway.cli.bench import FLAGS

PAGE = "docs/reference/bench.md"


def told(heading: str) -> set[str]:
    return {name for row in tables(PAGE)[heading] for name in code(row[0])}


def test_every_flag_of_bench_is_told() -> None:
    assert told("Flags") == {f"--{flag.name}" for flag in FLAGS if flag.help}


def test_every_measurement_is_told() -> None:
    assert told("Measurements") == set(MEASURES)


def test_every_field_of_its_json_is_told() -> None:
    assert told("JSON") == {*Result("", True, {}).json(), "changes"}
