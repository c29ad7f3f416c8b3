"""`portway edge`: from flags and edge.yml to the plan of an edge. A flag wins over the file."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from portway.cli import itself
from portway.cli.options import Flag, Given, command
from portway.cli.report import CommandError
from portway.config import values
from portway.launch import Launch

LISTENERS = ("agent", "http", "https", "tcp")

# Each address flag is an address of the plan.
DEFAULTS: dict[str, Any] = {
    "domains": ["localhost"],
    "agent_addr": "127.0.0.1:4443",
    "http_addr": "127.0.0.1:8080",
    "https_addr": "127.0.0.1:8443",
    "api_addr": "127.0.0.1:4041",
    "tcp_ports": "20000-20999",
}

FLAGS = (
    Flag("domain", "list", "Base domain of names; repeat for more (default localhost)", "DOMAIN"),
    Flag("agent-addr", "text", "Where agents connect, off for nowhere (default 127.0.0.1:4443)", "ADDR"),
    Flag("http-addr", "text", "Where visitors come by HTTP (default 127.0.0.1:8080)", "ADDR"),
    Flag("https-addr", "text", "Where visitors come by HTTPS and TLS (default 127.0.0.1:8443)", "ADDR"),
    Flag("api-addr", "text", "Health, metrics and revoked certificates (default 127.0.0.1:4041)", "ADDR"),
    Flag("tcp-ports", "text", "Ports of TCP endpoints (default 20000-20999)", "FIRST-LAST"),
    Flag("data-dir", "text", "CA and state", "DIR"),
    Flag("certs-dir", "text", "Certificates for visitors: NAME.crt or .pem, with NAME.key", "DIR"),
    Flag("public-http-port", "text", "Port in http:// URLs, where it is not the one listened on", "PORT"),
    Flag("public-https-port", "text", "Port in https:// URLs, likewise", "PORT"),
    Flag("public-agent-addr", "text", "What agents elsewhere connect to", "HOST:PORT"),
    Flag("connect-address", "list", "Where agents may connect once more, or self; repeat for each leg", "HOST:PORT"),
    Flag("crl-url", "text", "Where agents get the list of revoked certificates, or off (default: at api-addr)", "URL"),
    Flag("authtoken", "list", "Admit agents with this token; repeatable. Better: $PORTWAY_EDGE_AUTHTOKEN", "TOKEN"),
    Flag("proxy-protocol", "list", "Expect PROXY headers on: agent, http, https, tcp", "LISTENER"),
    Flag("threads", "text", "Worker threads (default: one for two cores)", "COUNT"),
    Flag("config", "list", "Configuration of the edge, edge.yml", "FILE"),
    # An agent's; every command takes them.
    Flag("connect-url", "text"),
    Flag("connect-cas", "text"),
    Flag("metadata", "text"),
)


def edge(given: Given) -> Launch:
    """Run an edge: what agents connect to and visitors reach.

    Without flags it serves this machine only. `portway edge check` with the same flags tests what the world needs.
    """
    config, log, records = settings(given)
    return Launch(
        "edge",
        {
            "version": 1,
            "command": "edge",
            "edge": config,
            "log": log,
            "records": records,
            "reload": reload_by(given.argv),
        },
    )


EXAMPLES = """\
  portway edge                                      for this machine only
  portway edge --domain example.com --agent-addr :4443 --http-addr :80 --https-addr :443
  portway edge --config /etc/portway/edge.yml
"""

edge_command = partial(command, edge, FLAGS, EXAMPLES)
# For commands about a running edge, whose own command line can be repeated; listed are those that matter.
TO_A_RUNNING_ONE = [flag if flag.name in ("config", "data-dir") else flag._replace(help="") for flag in FLAGS]


def reload_by(argv: list[str]) -> dict[str, Any]:
    """How the running edge gets a fresh plan. The flags hold tokens, so they go by stdin."""
    import json

    return {
        "argv": [*itself.words(), "edge", "plan"],
        "stdin": json.dumps({"argv": argv}),
    }


def settings(given: Given) -> tuple[dict[str, Any], dict[str, str], list[dict[str, Any]]]:
    """The `edge`, `log` and `records` of the plan. Raises `CommandError` or `ConfigError`."""
    config: dict[str, Any] = dict(DEFAULTS)
    log: dict[str, str] = {}
    records: list[dict[str, Any]] = []
    paths = given.many("config")
    if len(paths) > 1:
        raise CommandError("An edge has one configuration file: --config was given more than once.")
    if paths:
        from portway.config import edge_file

        file = edge_file.load(Path(paths[0]))
        config |= file.edge
        log |= file.log
        records.append({"lvl": "info", "msg": "open config file", "fields": {"path": paths[0], "err": None}})
    config |= _from_flags(given)
    config.setdefault("data_dir", str(default_data_dir()))
    config["tokens"] = [*config.get("tokens", []), *_tokens(given)]
    for key in ("log", "log_format", "log_level"):
        if value := given.text(key):
            log[{"log": "target"}.get(key, key.removeprefix("log_"))] = value
    return config, log_of(log), records


def log_of(asked: dict[str, str]) -> dict[str, str]:
    """Where the records go. An edge has no screen of its own, so they go to stderr unless told otherwise."""
    log = {"target": "stderr", "level": "info", "format": "term"} | asked
    log["level"] = {"eror": "error"}.get(log["level"], log["level"])
    known = {"level": ("debug", "info", "warn", "error", "crit"), "format": ("term", "logfmt", "json")}
    for key, names in known.items():
        if log[key] not in names:
            raise unfit(log[key], f"log-{key}", ", ".join(names))
    return log


def default_data_dir() -> Path:
    """Where the CA and the state are, unless said otherwise."""
    if state := os.environ.get("STATE_DIRECTORY"):  # systemd's StateDirectory=
        return Path(state.split(":")[0])
    home = Path.home()
    if sys.platform == "darwin":
        return home / "Library" / "Application Support" / "portway"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local") / "portway"
    return Path(os.environ.get("XDG_DATA_HOME") or home / ".local" / "share") / "portway"


def _from_flags(given: Given) -> dict[str, Any]:
    config: dict[str, Any] = {}
    if domains := given.many("domain"):
        config["domains"] = [domain.strip(".").lower() for domain in domains]
    for listener in ("agent", "http", "https", "api"):
        if (text := given.text(f"{listener}_addr")) is not None:
            config[f"{listener}_addr"] = fitting(text, f"{listener}_addr", values.listener)
    for key in ("public_http_port", "public_https_port"):
        if (text := given.text(key)) is not None:
            config[key] = number(text, key, 65535)
    if (text := given.text("threads")) is not None:
        config["threads"] = number(text, "threads", 1024)
    if (text := given.text("tcp_ports")) is not None:
        config["tcp_ports"] = fitting(text, "tcp_ports", values.ports)
    if (text := given.text("public_agent_addr")) is not None:
        config["public_agent_addr"] = text
    if legs := given.many("connect_address"):
        config["connect_addresses"] = [fitting(text, "connect_address", values.leg) for text in legs]
    if (text := given.text("crl_url")) is not None:
        config["crl_url"] = fitting(text, "crl_url", values.crl_url)
    for key in ("data_dir", "certs_dir"):
        if (text := given.text(key)) is not None:
            config[key] = str(Path(text).expanduser().absolute())
    if listeners := given.many("proxy_protocol"):
        if unknown := sorted(set(listeners) - set(LISTENERS)):
            raise unfit(unknown[0], "proxy-protocol", ", ".join(LISTENERS))
        config["proxy_protocol"] = {listener: listener in listeners for listener in LISTENERS}
    return config


def _tokens(given: Given) -> list[dict[str, Any]]:
    tokens = given.repeated("authtoken")
    if variable := os.environ.get("PORTWAY_EDGE_AUTHTOKEN"):
        tokens += variable.replace(",", " ").split()
    if any(not token.strip() for token in tokens):
        raise CommandError("An authtoken cannot be empty.")
    return [{"token": token} for token in tokens]


def fitting(text: str, flag: str, parse: Callable[[str], str | None]) -> str | None:
    """What a text means that `values` reads, for a flag."""
    try:
        return parse(text)
    except ValueError as error:
        raise unfit(text, flag, str(error)) from None


def number(text: str, flag: str, most: int, least: int = 1) -> int:
    if not (text.isascii() and text.isdecimal() and least <= int(text) <= most):
        raise unfit(text, flag, f"a number from {least} to {most}")
    return int(text)


def unfit(text: str, flag: str, expected: str) -> CommandError:
    """The error for a value that cannot stand."""
    return CommandError(f'invalid argument "{text}" for "--{flag.replace("_", "-")}" flag: expected {expected}')
