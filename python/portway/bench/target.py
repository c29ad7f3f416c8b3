"""The endpoint that is measured, from what a user types."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from portway.bench import BenchError
from portway.hosts import is_here


@dataclass(frozen=True)
class Target:
    url: str
    tls: bool
    host: str
    port: int
    authority: str
    path: str
    connect: str | None = None
    ca_pem: str | None = None

    def plan(self) -> dict[str, Any]:
        """As the load generator reads it."""
        named = ("tls", "host", "port", "authority", "path", "connect", "ca_pem")
        return {name: value for name in named if (value := getattr(self, name)) is not None}


def parse(text: str, ca: Path | None = None) -> Target:
    """The target of a URL. Without a scheme it is https, on this machine http."""
    scheme, found, rest = text.partition("://")
    if not found:
        scheme, rest = "", text
    try:
        parts = urlsplit(f"//{rest}")
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise BenchError(f"{text} is no URL: {error}") from None
    scheme = scheme.lower() or ("http" if is_here(host) else "https")
    if scheme not in ("http", "https"):
        raise BenchError(f"{scheme}:// cannot be measured: name an http:// or https:// URL")
    if not host or any(letter.isspace() for letter in rest):
        raise BenchError(f"{text} is no URL: there is no host in it" if not host else f"{text} is no URL")
    if port == 0:
        raise BenchError(f"{text} is no URL: port 0 is nowhere")
    if "@" in parts.netloc:
        raise BenchError("a URL with a user name and a password cannot be measured")
    try:
        host = host if host.isascii() else host.encode("idna").decode()
    except UnicodeError:
        raise BenchError(f"{text} is no URL: {host} is no host") from None
    tls = scheme == "https"
    shown = f"[{host}]" if ":" in host else host
    authority = shown if port in (None, 443 if tls else 80) else f"{shown}:{port}"
    path = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._") + (
        f"?{quote(parts.query, safe=chr(37) + '/?:@!$&()*+,;=~-._')}" if parts.query else ""
    )
    port = port or (443 if tls else 80)
    # Few resolvers know the names below localhost, and all of them are here.
    connect = f"127.0.0.1:{port}" if host.endswith(".localhost") else None
    return Target(f"{scheme}://{authority}{path}", tls, host, port, authority, path, connect, _pem(ca))


def _pem(ca: Path | None) -> str | None:
    if ca is None:
        return None
    try:
        return ca.read_text()
    except UnicodeDecodeError:
        raise BenchError(f"{ca} is no PEM file") from None
