"""One edge for all tests of a module: an SDK that starts is work enough for each."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from harness.edge import Edge

# Where binds with labels are served: `{app: NAME}` at NAME.localhost.
LABELED = ("python", "node", "go1", "again")
RULES = "labels:\n" + "".join(f"  - match: {{app: {name}}}\n    url: https://{name}.localhost\n" for name in LABELED)


@pytest.fixture(scope="module")
def edge(new_shared_edge: Callable[..., Edge], tmp_path_factory: pytest.TempPathFactory) -> Edge:
    config = tmp_path_factory.mktemp("config") / "edge.yml"
    config.write_text(RULES)
    return new_shared_edge("--config", str(config))
