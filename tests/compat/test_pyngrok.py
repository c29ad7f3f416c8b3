"""pyngrok as it is on PyPI, its executable ours (agent-api.md §7, §9 case 2)."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from harness import need
from harness.api import KEY, OPERATION, Api, Reply, Seen
from harness.edge import Edge, isolated
from harness.upstreams import HttpUpstream, Upstreams

HERE = need.ROOT / "tests" / "compat" / "pyngrok"

# Left out: names and regions of another edge, features that are paid for there, what replaces the executable by a stub,
# and what wants an answer to take longer than a tenth of a millisecond.
SUITE = (
    *(f"test_agent.TestAgent.{name}" for name in ("test_captured_requests", "test_get_agent_status")),
    *(
        f"test_ngrok.TestNgrok.{name}"
        for name in (
            "test_connect",
            "test_connect_name",
            "test_get_tunnels",
            "test_schemes_http",
            "test_schemes_https",
            "test_schemes_http_https",
            "test_bind_tls_upgraded_to_schemes",
            "test_disconnect",
            "test_kill",
            "test_api_get_request_success",
            "test_api_request_query_params",
            "test_api_request_delete_data_updated",
            "test_api_request_fails",
            "test_connect_fileserver",
            "test_get_tunnel_fileserver",
            "test_ngrok_tunnel_refresh_metrics",
            "test_tunnel_definitions_pyngrok_default_with_overrides",
            "test_full_config_v2_http_tunnel_definitions",
            "test_full_config_v2_tcp_tunnel_definitions",
            "test_full_config_v2_tls_tunnel_definitions",
            "test_v3_connect",
            "test_v3_connect_name",
            "test_v3_get_tunnels",
            "test_v3_disconnect",
            "test_v3_endpoint_definitions",
            "test_v3_pyngrok_default_endpoint",
            "test_v3_endpoint_definitions_with_overrides",
            "test_version",
            "test_set_auth_token",
            "test_set_api_key",
        )
    ),
    *(
        f"test_process.TestProcess.{name}"
        for name in (
            "test_terminate_process",
            "test_process_external_kill",
            "test_multiple_processes_same_binary_fails",
            "test_start_process_port_in_use",
            "test_process_logs",
            "test_log_event_callback_and_max_logs",
            "test_no_monitor_thread",
            "test_stop_monitor_thread",
        )
    ),
)


@pytest.fixture
def environment(edge: Edge, tmp_path: Path) -> dict[str, str]:
    """What points agents at the edge, and clients at its CA."""
    known = {**os.environ, **isolated(tmp_path / "home"), **edge.agent_env()}
    return {**known, "NGROK_AUTHTOKEN": edge.token, "SSL_CERT_FILE": str(edge.ca)}


@pytest.fixture
def upstream(upstreams: Upstreams) -> HttpUpstream:
    return upstreams.http()


@pytest.mark.parametrize("version", ["2", "3"])
def test_a2_a_script_of_its_users_runs_unchanged(
    version: str, edge: Edge, ngrok: Path, environment: dict[str, str], upstream: HttpUpstream, tmp_path: Path
) -> None:
    python = need.tool("pyngrok", "bin", "python")
    config = tmp_path / "ngrok.yml"
    agent = f"authtoken: {edge.token}"
    config.write_text(f"version: 2\n{agent}\n" if version == "2" else f"version: 3\nagent:\n  {agent}\n")
    run = subprocess.run(
        [str(python), str(HERE / "script.py"), str(ngrok), version, str(config), str(upstream.port)],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    name, proto, url, shown = told.pop("connected")
    assert (name, proto, shown) == ("shop", "https", f"http://localhost:{upstream.port}")
    assert told.pop("listed") == [url]
    assert told.pop("version").startswith("3.")
    update = told.pop("update")
    online, agent_version = told.pop("agent")
    assert (online, agent_version[:2]) == ("online", "3.")
    assert told == {
        "monitor": True,
        "status": 200,
        "captured": [["shop", "POST", "/buy?what=tea"]],
        "replayed": [True, False],
        "original": True,
        "elsewhere": 0,
        "counted": 1,
        "found": ["shop", True],
        "refused": [400, True],
        "deleted": 0,
        "schemes": ["http", "https", "https"],
        "tcp": ["tcp", "tcp", "localhost:22"],
        "left": 0,
        "errors": told["errors"],
        "gone": True,
    }
    assert all("odd" in line or "protocol name" in line for line in told["errors"])
    assert "pip" in update or "package" in update, "how this one is updated"
    sent, resent = upstream.seen
    assert (sent.method, sent.target, sent.body) == ("POST", "/buy?what=tea", b'{"one": 1}')
    assert (resent.method, resent.target, resent.body) == (sent.method, sent.target, sent.body)


@pytest.mark.parametrize("name", SUITE)
def test_a2_its_own_test(name: str, ngrok: Path, environment: dict[str, str], tmp_path: Path) -> None:
    python = need.tool("pyngrok", "bin", "python")
    shutil.copytree(need.tool("pyngrok", "suite", "tests"), tmp_path / "suite" / "tests")
    run = subprocess.run(
        [str(python), str(HERE / "suite.py"), str(ngrok), name],
        capture_output=True,
        text=True,
        env=environment,
        cwd=tmp_path / "suite",
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "skipped" not in run.stderr, run.stderr


def test_its_helper_for_the_api_reads_what_we_say(ngrok: Path, tmp_path: Path) -> None:
    """It takes both streams for one, and everything from the first brace on for the answer (api-cli.md §3)."""
    python = need.tool("pyngrok", "bin", "python")
    api = Api()
    config = tmp_path / "ngrok.yml"
    config.write_text(f"version: 3\nagent: {{api_url: '{api.url}'}}\n")

    def taken(seen: Seen) -> Reply:
        return Reply.error(400, "The domain is already reserved.", "ERR_NGROK_413", operation_id=OPERATION)

    judged = api.answer
    api.answer = lambda seen: taken(seen) if b"taken" in seen.body else judged(seen)  # type: ignore[method-assign]
    try:
        run = subprocess.run(
            [str(python), str(HERE / "api.py"), str(ngrok), str(config), KEY],
            capture_output=True,
            text=True,
            env={**os.environ, **isolated(tmp_path / "home")},
            check=False,
        )
    finally:
        api.stop()
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    refused = told.pop("refused")
    assert "is already reserved. [ERR_NGROK_413]" in refused
    assert f"Operation ID: {OPERATION}" in refused
    assert told == {
        "listed": ["200 OK\n", ["endpoints", "next_page_uri", "uri"]],
        "made": ["201 Created\n", "a domain"],
        "gone": ["204 No Content", None],
        "help": True,
    }
    assert [seen.target for seen in api.seen][:2] == ["/endpoints?limit=5", "/reserved_domains"]
    assert api.problems == []
