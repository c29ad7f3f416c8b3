"""SDKs that try a refused login for ever: the edge stays out of breath for nobody."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from harness.edge import Edge
from harness.sdk import Sdks, each

LIMIT = 2
UNKNOWN_TOKEN = "ERR_NGROK_107"
TOO_MANY = "ERR_NGROK_702"


@pytest.fixture
def edge(new_edge: Callable[..., Edge], tmp_path: Path) -> Edge:
    config = tmp_path / "edge.yml"
    config.write_text(f"limits:\n  failed_logins: {LIMIT}\n")
    return new_edge("--config", str(config))


@each(python="it gives up at the first refusal", node="it gives up at the first refusal")
def test_beyond_a_limit_nobody_asks_any_more_who_it_is(sdks: Sdks, edge: Edge, kind: str) -> None:
    sdk = sdks.run(kind, token="no-such-token", persist=True)
    codes = [sdk.event("disconnected", number)["code"] for number in range(1, LIMIT + 3)]
    assert codes == [UNKNOWN_TOKEN] * LIMIT + [TOO_MANY] * 2
    assert edge.metric("portway_logins_failed_total") >= LIMIT + 2
    assert edge.metric("portway_agent_sessions") == 0
