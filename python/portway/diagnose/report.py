"""The result as JSON, to be sent to somebody: no token, key, cookie, header value or password in it; hosts stay."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from portway import __version__
from portway.config.model import Config
from portway.diagnose.judge import Verdict
from portway.diagnose.probe import Facts

MASKED = "***"
# What may be read by strangers; whatever else there is, now or later, is masked.
AGENT_KEYS = {
    *("connect_url", "connect_cas", "connect_interface", "connect_timeout", "console_ui", "console_ui_color"),
    *(
        "crl_noverify",
        "crl_url",
        "dns_resolver_ips",
        "dns_fallback",
        "multi_leg",
        "heartbeat_interval",
        "heartbeat_tolerance",
    ),
    *("inspect_db_size", "local_storage", "log", "log_level", "log_format", "proxy_url", "remote_management", "region"),
    *("update_channel", "update_check", "update_url", "web_addr", "web_allow_hosts"),
}
ENDPOINT_KEYS = {
    *("name", "url", "proto", "addr", "domain", "hostname", "subdomain", "remote_addr", "schemes", "bindings"),
    *("inspect", "pooling_enabled", "upstream_protocol", "app_protocol", "proxy_proto", "upstream_proxy_protocol"),
    *("upstream_tls_verify", "upstream_tls_verify_cas", "terminate_at", "crt", "key", "mutual_tls_cas", "compression"),
    *("circuit_breaker", "file_listing", "host_header", "ip_restriction", "traffic_policy_file", "policy_file"),
}
PROXY_VARIABLES = ("http_proxy", "http_proxy_env", "https_proxy", "all_proxy", "no_proxy")


def report(started: str, config: Config, facts: Facts, verdict: Verdict, env: Mapping[str, str]) -> dict[str, Any]:
    return {
        "started": started,
        "version": __version__,
        "os": platform.system().lower(),
        "arch": platform.machine(),
        "config": {
            "files": [str(path) for path in config.read],
            "agent": masked(config.agent, AGENT_KEYS),
            "endpoints": [masked({"name": entry.name, **entry.options}, ENDPOINT_KEYS) for entry in config.entries],
        },
        "proxy": proxies(env),
        "tests": [fact.shown() for fact in facts.facts],
        "result": "ok" if verdict.fine else f"error: {verdict.cause}",
        "region": verdict.region,
        "latency_ms": verdict.latency_ms,
    }


def masked(settings: Mapping[str, Any], known: set[str]) -> dict[str, Any]:
    """Settings with whatever might be a secret replaced; that it is there can be seen."""
    return {key: _plain(value) if key in known else MASKED for key, value in settings.items()}


def _plain(value: Any) -> Any:
    """URLs lose their credentials."""
    if isinstance(value, str):
        return without_user(value)
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return value


def without_user(text: str) -> str:
    """`user:password@` of a URL, with or without a scheme."""
    return re.sub(r"^((?:[A-Za-z][\w+.-]*:)?(?://)?)[^/?#]*@", rf"\g<1>{MASKED}@", text)


def proxies(env: Mapping[str, str]) -> dict[str, str]:
    """Variables that name proxies."""
    names = [spelled for name in PROXY_VARIABLES for spelled in (name, name.upper())]
    return {name: without_user(env[name]) for name in names if env.get(name)}


def write(path: Path, content: Mapping[str, Any]) -> None:
    """For its owner alone: even without secrets, it tells much about a network."""
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
