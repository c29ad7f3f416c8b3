"""Public URLs as they are asked for (cli.md §5). What a URL may be in detail, the edge decides; this is what can be
told without it."""

from __future__ import annotations

import re
from typing import NamedTuple

SCHEMES = ("http", "https", "tcp", "tls")


class EndpointUrl(NamedTuple):
    proto: str
    """Of the endpoint: `http`, `https`, `tcp` or `tls`."""
    text: str
    """As the edge is asked for it."""


def parse(text: str, proto: str = "https") -> EndpointUrl:
    """Reads a URL request. `proto` holds where it names no scheme. Raises `ValueError` with a sentence for the user."""
    text = text.strip()
    scheme, mark, rest = text.partition("://")
    if not mark:
        scheme, rest = proto, text
    scheme = scheme.lower()
    if scheme not in SCHEMES:
        raise ValueError(f"{text!r}: the scheme must be http, https, tcp or tls")
    if rest.endswith("/"):
        raise ValueError(f"{text!r} ends with a slash: leave it out")
    if re.search(r"[/?#@]", rest):
        raise ValueError(f"{text!r}: only scheme, host and port may be given")
    host, colon, port = rest.rpartition(":")
    if colon:
        if not (port.isascii() and port.isdecimal()):
            raise ValueError(f"{text!r}: the port is not a number")
        if not 1 <= int(port) <= 65535:
            raise ValueError(f"{text!r}: port {port} is not in 1-65535")
    else:
        host = rest
    if re.search(r"\s", host) or (colon and not host):
        raise ValueError(f"{text!r} is no URL")
    return EndpointUrl(scheme, text if mark or not rest else f"{scheme}://{rest}")
