"""Older options of an endpoint as the wire spells them (wire-protocol.md §4.4). Their content is checked here, when the
endpoint is started; a `ValueError` has a sentence for the user."""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

Read = Callable[[str], str]
"""Reads a file that an option names."""


def wire(options: dict[str, Any], upstream_url: str, read: Read) -> dict[str, Any]:
    """The `opts` of the plan."""
    opts: dict[str, Any] = {}
    for build in (_basic_auth, _addresses, _simple, _identity, _webhook, _agents):
        opts |= build(options)
    opts |= _headers(options, upstream_url)
    opts |= _tls(options, read)
    return opts


def _basic_auth(options: dict[str, Any]) -> dict[str, Any]:
    credentials = []
    for pair in options.get("basic_auth", []):
        user, colon, password = pair.partition(":")
        if not colon or not user:
            raise ValueError("basic_auth: write user:password")
        if not 8 <= len(password) <= 128:
            raise ValueError(f"basic_auth: the password of {user!r} must have 8 to 128 characters")
        if len(user) > 128:
            raise ValueError("basic_auth: a user name has up to 128 characters")
        credentials.append({"username": user, "cleartext_password": password})
    return {"BasicAuth": {"credentials": credentials}} if credentials else {}


def _addresses(options: dict[str, Any]) -> dict[str, Any]:
    restriction = options.get("ip_restriction", {})
    lists = {key: restriction[key] for key in ("allow_cidrs", "deny_cidrs") if restriction.get(key)}
    for cidrs in lists.values():
        for cidr in cidrs:
            _network(cidr)
    return {"IPRestriction": lists} if lists else {}


def _network(cidr: str) -> None:
    try:
        ip, slash, length = cidr.partition("/")
        if "%" in ip or (slash and not (length.isascii() and length.isdecimal())):
            raise ValueError(cidr)
        ipaddress.ip_network(cidr, strict=False)
    except ValueError:
        raise ValueError(f"{cidr!r} is neither an address nor a range such as 192.0.2.0/24") from None


def _simple(options: dict[str, Any]) -> dict[str, Any]:
    opts: dict[str, Any] = {}
    if options.get("compression"):
        opts["Compression"] = {}
    if options.get("websocket_tcp_converter"):
        opts["WebsocketTCPConverter"] = {}
    if "circuit_breaker" in options:
        try:
            threshold = float(options["circuit_breaker"])
        except ValueError:
            raise ValueError(f"circuit_breaker: {options['circuit_breaker']!r} is no number from 0 to 1") from None
        if not 0 <= threshold <= 1:
            raise ValueError(f"circuit_breaker: {threshold} is not between 0 and 1")
        opts["CircuitBreaker"] = {"error_threshold": threshold}
    return opts


def _identity(options: dict[str, Any]) -> dict[str, Any]:
    """Passed on as they are: an edge that cannot do it says so."""
    return {wire: dict(options[key]) for key, wire in (("oauth", "OAuth"), ("oidc", "OIDC")) if options.get(key)}


def _webhook(options: dict[str, Any]) -> dict[str, Any]:
    webhook = options.get("verify_webhook", {})
    if not webhook:
        return {}
    if not webhook.get("provider"):
        raise ValueError("verify_webhook names no provider")
    return {"WebhookVerification": {"provider": webhook["provider"], "secret": webhook.get("secret", "")}}


def _agents(options: dict[str, Any]) -> dict[str, Any]:
    agents = options.get("user_agent_filter", {})
    lists = {key: agents[key] for key in ("allow", "deny") if agents.get(key)}
    return {"UserAgentFilter": lists} if lists else {}


def _headers(options: dict[str, Any], upstream_url: str) -> dict[str, Any]:
    opts: dict[str, Any] = {}
    for key, name in (("request_header", "RequestHeaders"), ("response_header", "ResponseHeaders")):
        change = options.get(key, {})
        add, remove = list(change.get("add", [])), list(change.get("remove", []))
        for header in add:
            if not re.match(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\s*:", header):
                # What stands behind a blank may be a secret.
                raise ValueError(f"{key}.add: {header.split(' ')[0]!r} is no header: write it as name:value")
        if add or remove:
            opts[name] = {"add": add, "remove": remove}
    host = options.get("host_header", "preserve")
    if host != "preserve":
        if host == "rewrite":
            host = urlsplit(upstream_url).netloc or "localhost"  # a socket and a folder have no name of their own
        headers = opts.setdefault("RequestHeaders", {"add": [], "remove": []})
        headers["add"].append(f"host:{host}")
        opts["HostHeaderRewrite"] = True
    return opts


def _tls(options: dict[str, Any], read: Read) -> dict[str, Any]:
    def encoded(path: str) -> str:
        return base64.b64encode(read(path).encode()).decode()

    proto, cas = options.get("proto"), options.get("mutual_tls_cas")
    if proto in ("http", "https"):
        return {"MutualTLSCA": {"mutual_tls_ca": encoded(cas)}} if cas else {}
    if options.get("terminate_at") != "edge":
        return {}
    opts: dict[str, Any] = {"TLSTermination": {}}
    if options.get("crt"):
        opts["TLSTermination"] = {"cert": encoded(options["crt"]), "key": encoded(options["key"])}
    if cas:
        opts["MutualTLSAtEdge"] = {"mutual_tls_ca": encoded(cas)}
    return opts
