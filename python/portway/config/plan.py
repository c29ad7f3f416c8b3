"""What an endpoint becomes in the plan (config.md §10)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from portway.config import endpoint_url, options, upstream, values
from portway.config.errors import ConfigError, Problem
from portway.config.model import Config, Entry
from portway.config.reader import nearest
from portway.config.sources import Names, Sources

NO_LABELS = (
    "endpoints by labels are not supported in version 3: give it a url, or leave it in a file of version 2"
    " (ERR_NGROK_358)"
)


def tunnel_entry(name: str, definition: Mapping[str, Any]) -> Entry:
    """An entry of flags instead of a file."""
    return Entry(name, dict(definition))


def select(config: Config, names: Sequence[str]) -> list[Entry]:
    """The entries of these names. Raises `ConfigError` for one that is not there."""
    known = {**{entry.name: entry for entry in config.endpoints}, **config.tunnels}
    known |= {entry.name: entry for entry in config.tunnels.values()}
    for name in names:
        if name not in known:
            available = ", ".join(entry.name for entry in config.entries) or "none"
            files = " ".join(str(path) for path in config.read)
            hint = nearest(name, list(known))
            raise ConfigError(
                f"Tunnel '{name}' is not defined in the config files.\n"
                f"Tunnels available: {available}\nConfig files read: [{files}]"
                + (f"\nDid you mean {hint}?" if hint else "")
            )
    return [known[name] for name in dict.fromkeys(names)]


def endpoints(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """The `endpoints` of the plan. Raises `ConfigError` for what cannot be started, with the entry's name."""
    plans: list[dict[str, Any]] = []
    problems: list[Problem] = []
    for entry in entries:
        found = _plans_or_problem(entry)
        if isinstance(found, Problem):
            problems.append(found)
        else:
            plans += found
    if problems:
        raise ConfigError(problems)
    return plans


def _plans_or_problem(entry: Entry) -> list[dict[str, Any]] | Problem:
    try:
        return _plans(entry, Sources(entry.folder))
    except OSError as error:
        reason = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    except ValueError as error:
        reason = str(error)
    shown = f'endpoint "{entry.name}": ' if entry.file else ""
    return Problem(f"{shown}{reason}", entry.file, entry.line, 1 if entry.line else 0)


def meaning(entry: Entry) -> list[dict[str, Any]]:
    """What an entry becomes, with the names of files in the place of what is in them. Raises `ValueError`."""
    return _plans(entry, Names(entry.folder))


def _plans(entry: Entry, sources: Sources) -> list[dict[str, Any]]:
    given = entry.options
    if "labels" in given and "proto" not in given:
        if entry.version == 3:
            raise ValueError(NO_LABELS)
        return [_labelled(entry, sources)]
    proto = given.get("proto", "https")
    if proto not in ("http", "https", "tcp", "tls"):
        raise ValueError(f"unknown protocol name {proto!r}: use http, tcp or tls")
    schemes = given.get("schemes") or []
    if unknown := [scheme for scheme in schemes if scheme not in ("http", "https")]:
        raise ValueError(f"the scheme {unknown[0]!r} is not http or https")
    if proto == "http" and set(schemes) == {"http", "https"}:
        secure = _plan(entry, sources, "https", entry.name)
        plain = _plan(entry, sources, "http", f"{entry.name} (http)")
        if plain["url"] == "http://":
            plain["host_of"] = secure["name"]  # one host, whichever the edge chooses
        return [secure, plain]
    if proto == "http":
        proto = schemes[0] if schemes else "https"
    return [_plan(entry, sources, proto, entry.name)]


def _labelled(entry: Entry, sources: Sources) -> dict[str, Any]:
    """An endpoint by labels: the edge knows which visitors are meant."""
    pairs = [label.partition("=") for label in entry.options["labels"]]
    if not pairs:
        raise ValueError("labels: there is none: write them as key=value")
    for key, equals, _ in pairs:
        if not key or not equals:
            raise ValueError(f"labels: {key!r} is no label: write it as key=value")
    scheme = str(entry.options.get("addr", "")).partition("://")[0]
    proto = scheme if scheme in ("tcp", "tls") else "https"
    if any(option in entry.options for option in ("crt", "key", "mutual_tls_cas")):
        proto = "tls"  # it ends here
    plan = _plan(entry, sources, proto, entry.name)
    return {**plan, "url": "", "labels": {key: value for key, _, value in pairs}}


def _plan(entry: Entry, sources: Sources, proto: str, name: str) -> dict[str, Any]:
    given = entry.options
    proto, url, opts = url_request(given, proto)
    target = upstream.normalise(str(given.get("addr", "")), proto)
    verify_cas = given.get("upstream_tls_verify_cas")
    plan: dict[str, Any] = {
        "name": name,
        "proto": proto,
        "url": url,
        "upstream": target.url,
        "addr": target.addr,
        "metadata": given.get("metadata", ""),
        "description": given.get("description", ""),
        "bindings": [binding for binding in given.get("bindings", []) if binding],
        "pooling_enabled": bool(given.get("pooling_enabled", False)),
        "inspect": bool(given.get("inspect", True)),
        "traffic_policy": _policy(given, sources),
        "upstream_protocol": given.get("upstream_protocol") or given.get("app_protocol") or "",
        "proxy_protocol": _proxy_protocol(given),
        "tls_verify": bool(given.get("upstream_tls_verify", False)),
        "tls_verify_cas": sources.file(verify_cas) if verify_cas else None,
        "listing": bool(given.get("file_listing", True)),
        "agent_tls": _agent_tls(given, sources) if proto == "tls" else None,
        "opts": {**opts, **options.wire({**given, "proto": proto}, target.url, sources.file)},
    }
    if plan["upstream_protocol"] not in ("", "http1", "http2"):
        raise ValueError(f"the upstream protocol {plan['upstream_protocol']!r} must be http1 or http2")
    if binding := next((one for one in plan["bindings"] if one not in ("public", "internal", "kubernetes")), None):
        raise ValueError(f"the binding {binding!r} is not public, internal or kubernetes")
    return plan


def url_request(given: Mapping[str, Any], proto: str) -> tuple[str, str, dict[str, Any]]:
    """Protocol, URL request and wire options of however the name was given."""
    url = given.get("url") or ""
    if url:
        parsed = endpoint_url.parse(url, proto)
        family = {"https": "http"}
        if family.get(parsed.proto, parsed.proto) != family.get(proto, proto):
            raise ValueError(f"an endpoint of protocol {family.get(proto, proto)} cannot have the URL {url!r}")
        return parsed.proto, parsed.text, {}
    host = given.get("domain") or given.get("hostname")
    if host:
        return proto, endpoint_url.parse(f"{proto}://{host}").text, {}
    if address := given.get("remote_addr"):
        if ":" not in address:
            raise ValueError(f"remote_addr: {address!r} is no host:port")
        return proto, endpoint_url.parse(f"tcp://{address}").text, {}
    if label := given.get("subdomain"):
        return proto, "", {"Subdomain": values.subdomain(label)}
    return proto, f"{proto}://", {}


def _proxy_protocol(given: Mapping[str, Any]) -> int:
    version = str(given.get("upstream_proxy_protocol") or given.get("proxy_proto") or "0")
    if version not in ("0", "1", "2"):
        raise ValueError(f"the PROXY protocol has versions 1 and 2, not {version!r}")
    return int(version)


def _agent_tls(given: Mapping[str, Any], sources: Sources) -> dict[str, Any] | None:
    """TLS ends in the agent: asked for by name, or by giving the key, which is to stay here then."""
    own = given.get("agent_tls", {})
    least, most = own.get("min_version", ""), own.get("max_version", "")
    if (least or "1.2") > (most or "1.3"):
        raise ValueError(f"agent_tls_termination: min_version {least} is above max_version {most}")
    if own:
        cert, key = own.get("server_certificate"), own.get("server_private_key")
        cas = own.get("mutual_tls_certificate_authorities", [])
    else:
        if given.get("terminate_at", "agent") != "agent":
            return None
        cert, key = given.get("crt"), given.get("key")
        cas = [given["mutual_tls_cas"]] if given.get("mutual_tls_cas") else []
        if not cert and not key and "terminate_at" not in given:
            if cas:
                raise ValueError("mutual_tls_cas needs crt and key here")
            return None
    if not cert or not key:
        raise ValueError("TLS can end in the agent with both a certificate and its key only")
    return {
        "cert": sources.pem(cert),
        "key": sources.pem(key),
        "client_cas": [sources.pem(ca) for ca in cas],
        "min_version": least,
        "max_version": most,
    }


def _policy(given: Mapping[str, Any], sources: Sources) -> str:
    inline = given.get("traffic_policy", given.get("policy"))
    if inline is not None:
        return json.dumps(inline, ensure_ascii=False)
    if path := given.get("traffic_policy_file") or given.get("policy_file"):
        return sources.file(path)
    if url := given.get("traffic_policy_url"):
        return sources.policy(url)
    return ""
