"""Names of version 1, and older spellings of version 2, as version 2 has them (config.md §5.2, §5.3)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from yaml.nodes import MappingNode, Node, ScalarNode

from portway.config import values
from portway.config.document import is_null
from portway.config.edit import line_end, members, scalar
from portway.config.errors import ConfigError, Problem
from portway.config.schema import V1_AGENT

SPELLINGS = {"verify_upstream_tls": "upstream_tls_verify", "upstream_ca_path": "upstream_tls_verify_cas"}
SCHEMES = {True: "[https]", False: "[http]"}


class Change(NamedTuple):
    start: int
    stop: int
    text: str
    about: str
    """For the report."""


def renamed(text: str, root: MappingNode, path: Path, version: int) -> tuple[str, list[str]]:
    """`text`, of version 1 or 2, in the names of version 2, and what was changed. Raises `ConfigError`."""
    changes = list(_tunnels(text, root, path))
    if version == 1:
        changes += _agent(text, root, path)
    changes.sort()
    for change in reversed(changes):
        text = text[: change.start] + change.text + text[change.stop :]
    return text, [change.about for change in changes if change.about]


def _agent(text: str, root: MappingNode, path: Path) -> Iterator[Change]:
    names = members(root)
    proxies = [name for name in ("http_proxy", "socks5_proxy", "proxy_url") if name in names]
    if len(proxies) > 1:
        raise _problem(root, proxies[1], path, f"{' and '.join(proxies)} are one setting in version 2: keep one")
    for key, value in root.value:
        name = key.value if isinstance(key, ScalarNode) else ""
        if name not in V1_AGENT:
            continue
        new = V1_AGENT[name]
        if new:
            yield _rename(key, new)
        else:
            start = key.start_mark.index - key.start_mark.column
            yield Change(start, line_end(text, value.end_mark.index), "", f"{name} was removed: it has no effect")


def _tunnels(text: str, root: MappingNode, path: Path) -> Iterator[Change]:
    for name, tunnel in members(members(root).get("tunnels")).items():
        if not isinstance(tunnel, MappingNode):
            continue
        for key, value in tunnel.value:
            option = key.value if isinstance(key, ScalarNode) else ""
            where = f"tunnels.{name}"
            if option in SPELLINGS:
                yield _rename(key, SPELLINGS[option], where)
            elif option == "auth" and isinstance(value, ScalarNode):
                yield from _replace(key, value, "basic_auth", f"[{_quoted(text, value)}]", where)
            elif option == "bind_tls" and isinstance(value, ScalarNode):
                yield from _replace(key, value, "schemes", _schemes(name, value, path), where)


def _rename(key: Node, new: str, where: str = "") -> Change:
    old = f"{where}.{key.value}" if where else key.value
    return Change(key.start_mark.index, key.end_mark.index, new, f"{old} is called {new} now")


def _replace(key: Node, value: Node, new: str, content: str, where: str) -> Iterator[Change]:
    if is_null(value):
        yield _rename(key, new, where)
        return
    yield _rename(key, new, where)
    yield Change(value.start_mark.index, value.end_mark.index, content, "")


def _quoted(text: str, value: ScalarNode) -> str:
    written = text[value.start_mark.index : value.end_mark.index]
    return written if value.style in ("'", '"') else scalar(value.value, '"')


def _schemes(name: str, value: ScalarNode, path: Path) -> str:
    if value.value == "both":
        return "[http, https]"
    try:
        return SCHEMES[values.boolean(value.value)]
    except ValueError:
        message = f"tunnels.{name}.bind_tls: {value.value!r} is not one of true, false, both"
        line, column = value.start_mark.line + 1, value.start_mark.column + 1
        raise ConfigError([Problem(message, path, line, column)]) from None


def _problem(root: MappingNode, name: str, path: Path, message: str) -> ConfigError:
    mark = next(key.start_mark for key, _ in root.value if isinstance(key, ScalarNode) and key.value == name)
    return ConfigError([Problem(message, path, mark.line + 1, mark.column + 1)])
