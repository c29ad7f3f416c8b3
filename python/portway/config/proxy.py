"""The proxy that an edge is reached through: `proxy_url`, or a variable (agent-behaviour.md §2.3, config.md §2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from portway.config.errors import ConfigError

# Where a proxy is looked for when no file names one, the first one winning.
VARIABLES = ("http_proxy", "http_proxy_env", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
KINDS = {"http": "http", "https": "https", "socks5": "socks5", "socks5h": "socks5"}
PORTS = {"http": 80, "https": 443, "socks5": 1080}
LONGEST = 255  # of a user name or password, as SOCKS5 counts them


def chosen(agent: Mapping[str, Any], env: Mapping[str, str]) -> dict[str, Any] | None:
    """The `proxy` of the plan; nothing where there is none. Raises `ConfigError` for one that cannot be used."""
    source, url = next(_named(agent, env), ("", ""))
    if not source:
        return None
    try:
        return {**parse(url), "source": source, "except": list(exceptions(env))}
    except ValueError as error:
        raise ConfigError(f"{source}: {error}") from None


def _named(agent: Mapping[str, Any], env: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if url := agent.get("proxy_url"):
        yield "proxy_url", url
    for name in VARIABLES:
        # A web server's script gets HTTP_PROXY from whoever sends a header of that name.
        if env.get(name) and not (name == "HTTP_PROXY" and "REQUEST_METHOD" in env):
            yield name, env[name]


def exceptions(env: Mapping[str, str]) -> Iterator[str]:
    """The hosts of `no_proxy`."""
    text = env.get("no_proxy") or env.get("NO_PROXY") or ""
    yield from filter(None, (part.strip() for part in text.replace(",", " ").split()))


def parse(url: str) -> dict[str, Any]:
    """What a proxy's URL says. Raises `ValueError` with a sentence that does not repeat its credentials."""
    scheme, _, rest = url.strip().partition("://")
    if not rest or scheme.lower() not in KINDS:
        raise ValueError("expected a URL with http://, https:// or socks5:// in front")
    kind = KINDS[scheme.lower()]
    wrong = ValueError(f"this is no URL of a proxy such as {scheme}://proxy.example.com:{PORTS[kind]}")
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname, parts.port
    except ValueError:
        raise wrong from None
    if not host or port == 0 or parts.path not in ("", "/") or parts.query or any(one.isspace() for one in rest):
        raise wrong
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if max(len(user.encode()), len(password.encode())) > LONGEST:
        raise ValueError(f"its user name and password may have {LONGEST} bytes each")
    return {"kind": kind, "host": host, "port": port or PORTS[kind], "user": user, "password": password}
