"""edge.yml: what an edge is told beyond its flags. Its keys are those of the edge's part of the plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from yaml.nodes import MappingNode, Node, SequenceNode

from portway.config import endpoint_url, values
from portway.config.document import is_null, kind, pairs, parse, read_text
from portway.config.errors import ConfigError
from portway.config.reader import Reader
from portway.config.schema import FLAG, TEXT, TEXTS, TREE, Key

ADDRESS = Key(values.text)
PORT = Key(values.between(1, 65535))
# What fits everywhere the edge runs.
NUMBER = Key(values.between(0, 2**32 - 1))
DURATION = Key(values.millis)
RULES = Key(values.rule, "list")

LIMITS: dict[str, Key] = {
    "connections": NUMBER,
    "connections_per_address": NUMBER,
    "header_bytes": NUMBER,
    "header_count": NUMBER,
    "head_timeout": DURATION,
    "handshake_timeout": DURATION,
    "idle_timeout": DURATION,
    "tcp_idle_timeout": DURATION,
    "streams_per_session": NUMBER,
    "endpoints_per_session": NUMBER,
    "failed_logins": NUMBER,
    "login_timeout": DURATION,
    "heartbeat_interval": DURATION,
    "heartbeat_tolerance": DURATION,
    "drain": DURATION,
    "webhook_bytes": NUMBER,
}
TOKEN: dict[str, Key] = {"token": TEXT, "token_file": TEXT, "name": TEXT, "acl": RULES, "metadata": TEXT}
RESERVED: dict[str, Key] = {"name": TEXT, "token": TEXT}
LABELS: dict[str, Key] = {"match": TREE, "url": Key(lambda text: endpoint_url.parse(text).text)}
PROXY: dict[str, Key] = dict.fromkeys(("agent", "http", "https", "tcp"), FLAG)

TOP: dict[str, Key] = {
    "domains": TEXTS,
    "agent_addr": ADDRESS,
    "http_addr": ADDRESS,
    "https_addr": ADDRESS,
    "api_addr": ADDRESS,
    "tcp_ports": TEXT,
    "data_dir": TEXT,
    "certs_dir": TEXT,
    "public_http_port": PORT,
    "public_https_port": PORT,
    "public_agent_addr": Key(values.host_port),
    "connect_addresses": Key(values.leg, "list"),
    "crl_url": Key(values.crl_url),
    "threads": Key(values.between(1, 1024)),
    "reserved_only": FLAG,
    "proxy_protocol": Key(shape="map", keys=PROXY),
    "limits": Key(shape="map", keys=LIMITS),
    "log": TEXT,
    "log_level": Key(values.one_of("debug", "info", "warn", "error", "eror", "crit")),
    "log_format": Key(values.one_of("term", "logfmt", "json")),
}
# Where it listens; of their flags the same is told.
PLACES: dict[str, Callable[[str], str | None]] = {
    **dict.fromkeys(("agent_addr", "http_addr", "https_addr", "api_addr"), values.listener),
    "tcp_ports": values.ports,
}
LISTS = {"tokens": TOKEN, "reserved": RESERVED, "labels": LABELS}
NEEDED = {"tokens": ["token"], "reserved": list(RESERVED), "labels": list(LABELS)}


@dataclass
class EdgeFile:
    """What the file says, in the words of the plan."""

    edge: dict[str, Any] = field(default_factory=dict)
    log: dict[str, str] = field(default_factory=dict)


def load(path: Path) -> EdgeFile:
    """Reads edge.yml. Raises `ConfigError` with every problem."""
    root = parse(read_text(path), path)
    file = EdgeFile()
    if root is None or is_null(root):
        return file
    reader = Reader(path)
    if not isinstance(root, MappingNode):
        reader.problem(root, f"expected keys and values, found {kind(root)}")
        raise ConfigError(reader.problems)
    for name, (key, node) in reader.members(root, "").items():
        if name in LISTS:
            file.edge[name] = _list(reader, node, name, path)
        elif name not in TOP:
            reader.unknown(key, name, {**TOP, **dict.fromkeys(LISTS, TEXT)}, "", {})
        elif not is_null(node):
            value = reader.value(node, TOP[name], name)
            if name in ("log", "log_level", "log_format"):
                file.log[{"log": "target"}.get(name, name.removeprefix("log_"))] = value
            else:
                file.edge[name] = _fitted(reader, node, name, value, path.parent)
    if reader.problems:
        raise ConfigError(reader.problems)
    return file


def _fitted(reader: Reader, node: Node, name: str, value: Any, folder: Path) -> Any:
    """Addresses and paths as the plan has them."""
    if value is None:
        return None
    if parse := PLACES.get(name):
        try:
            return parse(value)
        except ValueError as error:
            reader.problem(node, f"{name}: expected {error}, found {value!r}")
            return None
    if name in ("data_dir", "certs_dir"):
        path = Path(value).expanduser()
        return str(path if path.is_absolute() else folder / path)
    if name == "domains":
        return [domain.strip(".").lower() for domain in value]
    return value


def _list(reader: Reader, node: Node, name: str, path: Path) -> list[dict[str, Any]]:
    if is_null(node):
        return []
    if not isinstance(node, SequenceNode):
        reader.problem(node, f"{name}: expected a list, found {kind(node)}")
        return []
    items = []
    for index, item in enumerate(node.value):
        where = f"{name}[{index}]"
        read = reader.map(item, LISTS[name], where)
        if not isinstance(item, MappingNode):
            continue
        if name == "tokens" and (source := read.pop("token_file", None)):
            read["token"] = _token(reader, item, where, source, path.parent)
        for label, text in read.get("match", {}).items():
            if not isinstance(text, str):
                reader.problem(item, f"{where}.match.{label}: expected a text; put the value in quotes")
        there = {str(key.value) for key, value in pairs(item) if not is_null(value)} | set(read)
        missing = [key for key in NEEDED[name] if key not in there or read.get(key) == ""]
        if missing:
            reader.problem(item, f"missing {where}.{missing[0]}")
        items.append(read)
    return items


def _token(reader: Reader, node: Node, where: str, source: str, folder: Path) -> str:
    file = folder / Path(source).expanduser()
    try:
        return file.read_text().strip()
    except OSError as error:
        reader.problem(node, f"{where}.token_file: {error.strerror}: {file}")
        return "-"
