"""Upstream addresses (cli.md §4)."""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

SCHEMES = {"http": ("http", "https"), "https": ("http", "https"), "tcp": ("tcp", "tls"), "tls": ("tcp", "tls")}
NAME = re.compile(r"(?!-)[A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+(%[\w.]+)?\]")


class Upstream(NamedTuple):
    url: str
    """For the plan: with a scheme wherever it matters."""
    addr: str
    """For logs and screens."""


def normalise(text: str, proto: str) -> Upstream:
    """What `text` means for an endpoint of protocol `proto`. Raises `ValueError` with a sentence for the user."""
    text = text.strip()
    if text.startswith("file:"):
        return _folder(text, proto)
    if text.startswith("unix:"):
        path = text.removeprefix("unix:").removeprefix("//")
        if not path.startswith("/"):
            raise ValueError(f"{text!r}: the path of a unix socket must be absolute, unix:///path.sock")
        return Upstream(f"unix:{path}", f"unix://{path}")
    scheme, mark, rest = text.partition("://")
    if not mark:
        scheme, rest = "", text
    elif scheme not in SCHEMES.get(proto, ()):
        allowed = ", ".join(f"{name}://" for name in SCHEMES.get(proto, ()))
        raise ValueError(f"{text!r}: an upstream of this endpoint has {allowed} or no scheme")
    rest = rest.removesuffix("/")
    if re.search(r"[/?#@\s]", rest):
        raise ValueError(f"{text!r}: an upstream is host and port, without path or user")
    host, port = _split(text, rest)
    if proto in ("http", "https"):
        if not scheme:
            scheme = "https" if port == 443 else "http"
        port = port or (443 if scheme == "https" else 80)
        return Upstream(f"{scheme}://{host}:{port}", f"{scheme}://{host}:{port}")
    if port is None:
        raise ValueError(f"{text!r} has no port: write host:port")
    secure = scheme == "tls" or (proto == "tls" and not scheme and port == 443)
    shown = f"tls://{host}:{port}" if secure else f"{host}:{port}"
    return Upstream(shown, shown)


def _split(text: str, rest: str) -> tuple[str, int | None]:
    if rest.isascii() and rest.isdecimal():
        return "localhost", _port(text, rest)
    host, colon, port = rest.rpartition(":")
    if not colon or (rest.endswith("]") and rest.startswith("[")):
        host, port = rest, ""
    elif not port:  # what a variable that is not set leaves
        raise ValueError(f"{text!r} has no port behind its colon")
    if not text:
        raise ValueError("'' is no address such as 8080 or host:8080")
    host = host or "localhost"
    if not NAME.fullmatch(host) or (host.startswith("[") and not _is_address(host)):
        hint = ": write an IPv6 address in brackets, [::1]:80" if ":" in host else ""
        raise ValueError(f"{text!r} is no address such as 8080 or host:8080{hint}")
    return host, _port(text, port) if port else None


def _is_address(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host.strip("[]").partition("%")[0])
    except ValueError:
        return False
    return True


def _port(text: str, port: str) -> int:
    if not (port.isascii() and port.isdecimal()):
        raise ValueError(f"{text!r}: the port {port!r} is not a number")
    if not 1 <= int(port) <= 65535:
        raise ValueError(f"{text!r}: port {port} is not in 1-65535")
    return int(port)


def _folder(text: str, proto: str) -> Upstream:
    if proto not in ("http", "https"):
        raise ValueError(f"{text!r}: only http endpoints can serve a folder")
    path = text.removeprefix("file:").removeprefix("//")
    if not (path.startswith("/") or re.match(r"[A-Za-z]:[\\/]", path)):
        raise ValueError(f"{text!r}: the path of a folder must be absolute, file:///path")
    return Upstream(f"file://{path}", text)
