"""The keys of configuration files, and what each holds (config.md §4, §5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from portway.config import values

Shape = Literal["scalar", "list", "map", "tree", "inline"]


@dataclass(frozen=True)
class Key:
    """`scalar`: read by `parse`. `list`: of such scalars, or one alone. `map`: of `keys`. `tree`: anything."""

    parse: Callable[[str], Any] = values.text
    shape: Shape = "scalar"
    keys: dict[str, Key] | None = None


TEXT = Key()
FLAG = Key(values.boolean)
TEXTS = Key(shape="list")
TREE = Key(shape="tree")
DURATION = Key(values.duration)
VERSIONED = Key(values.one_of("1", "2"))
HTTP_VERSION = Key(values.one_of("http1", "http2"))

AGENT: dict[str, Key] = {
    "authtoken": TEXT,
    "api_key": TEXT,
    "api_url": Key(values.web_url),
    "connect_url": Key(values.connect_url, "list"),
    "connect_cas": TEXT,
    "connect_interface": TEXT,
    "connect_timeout": DURATION,
    "console_ui": Key(values.one_of("true", "false", "iftty")),
    "console_ui_color": Key(values.one_of("black", "transparent")),
    "crl_noverify": FLAG,
    "crl_url": Key(lambda text: text and values.web_url(text)),
    "dns_fallback": FLAG,
    "dns_fallback_url": Key(lambda text: text and values.web_url(text)),
    "dns_resolver_ips": Key(values.address, "list"),
    "heartbeat_interval": DURATION,
    "heartbeat_tolerance": DURATION,
    "inspect_db_size": Key(values.integer),
    "local_storage": FLAG,
    "log": TEXT,
    "log_level": Key(values.one_of("crit", "warn", "error", "eror", "info", "debug")),
    "log_format": Key(values.one_of("term", "logfmt", "json")),
    "metadata": Key(values.at_most(4096)),
    "multi_leg": FLAG,
    "proxy_url": Key(values.proxy),
    "remote_management": FLAG,
    "update_channel": Key(values.one_of("stable", "beta", "unstable")),
    "update_check": FLAG,
    "web_addr": Key(values.web_addr),
    "web_allow_hosts": Key(values.allowed_host, "list"),
}

# Version 2 has the settings at the top, some under another name.
RENAMED = {"server_addr": "connect_url", "root_cas": "connect_cas"}
V2_AGENT: dict[str, Key] = {
    **{key: spec for key, spec in AGENT.items() if key not in RENAMED.values()},
    "server_addr": AGENT["connect_url"],
    "root_cas": AGENT["connect_cas"],
    "region": TEXT,
}

# Names that only version 1 has, and what took their place; nothing: they have no meaning any more.
V1_AGENT = {"http_proxy": "proxy_url", "socks5_proxy": "proxy_url", "update": "update_check", "compress_conn": ""}
V1_TUNNEL = frozenset(("auth", "bind_tls"))

TUNNEL: dict[str, Key] = {
    "addr": TEXT,
    "proto": TEXT,
    "url": TEXT,
    "name": Key(values.name),
    "metadata": Key(values.at_most(4096)),
    "description": Key(values.at_most(255)),
    "inspect": FLAG,
    "pooling_enabled": FLAG,
    "bindings": TEXTS,
    "traffic_policy": TREE,
    "traffic_policy_file": TEXT,
    "traffic_policy_url": TEXT,
    "policy": TREE,
    "policy_file": TEXT,
    "proxy_proto": VERSIONED,
    "upstream_proxy_protocol": VERSIONED,
    "app_protocol": HTTP_VERSION,
    "upstream_protocol": HTTP_VERSION,
    "upstream_tls_verify": FLAG,
    "upstream_tls_verify_cas": TEXT,
    "file_listing": FLAG,
    "schemes": Key(values.one_of("http", "https"), "list"),
    "domain": TEXT,
    "hostname": TEXT,
    "subdomain": Key(values.subdomain),
    "remote_addr": TEXT,
    "terminate_at": Key(values.one_of("edge", "agent", "upstream")),
    "crt": TEXT,
    "key": TEXT,
    "mutual_tls_cas": TEXT,
    "basic_auth": TEXTS,
    "circuit_breaker": Key(values.ratio),
    "compression": FLAG,
    "host_header": TEXT,
    "ip_restriction": Key(shape="map", keys={"allow_cidrs": TEXTS, "deny_cidrs": TEXTS}),
    "oauth": Key(
        shape="map",
        keys={
            "provider": TEXT,
            "allow_domains": TEXTS,
            "allow_emails": TEXTS,
            "scopes": TEXTS,
            "client_id": TEXT,
            "client_secret": TEXT,
        },
    ),
    "oidc": Key(
        shape="map",
        keys={
            "issuer_url": TEXT,
            "client_id": TEXT,
            "client_secret": TEXT,
            "scopes": TEXTS,
            "allow_domains": TEXTS,
            "allow_emails": TEXTS,
        },
    ),
    "request_header": Key(shape="map", keys={"add": TEXTS, "remove": TEXTS}),
    "response_header": Key(shape="map", keys={"add": TEXTS, "remove": TEXTS}),
    "user_agent_filter": Key(shape="map", keys={"allow": TEXTS, "deny": TEXTS}),
    "verify_webhook": Key(shape="map", keys={"provider": TEXT, "secret": TEXT}),
    "websocket_tcp_converter": FLAG,
    "labels": TEXTS,
}

# There is no edge of ours yet that takes what is to take the place of these.
POLICY = "traffic_policy"
UNTIL_POLICIES = "until your edge has traffic policies"

# Old options that still work; who uses them is told what took their place.
DEPRECATED = {
    "policy": "traffic_policy",
    "policy_file": "traffic_policy_file",
    "proxy_proto": "upstream_proxy_protocol",
    "app_protocol": "upstream_protocol",
    "schemes": "url",
    "domain": "url",
    "hostname": "url",
    "subdomain": "url",
    "remote_addr": "url",
    "terminate_at": "crt and key",
    "labels": "url",
    **dict.fromkeys(
        (
            "basic_auth",
            "circuit_breaker",
            "compression",
            "host_header",
            "ip_restriction",
            "oauth",
            "oidc",
            "request_header",
            "response_header",
            "user_agent_filter",
            "verify_webhook",
            "websocket_tcp_converter",
        ),
        POLICY,
    ),
}

UPSTREAM: dict[str, Key] = {
    "url": TEXT,
    "protocol": Key(values.one_of("http1", "http2", "https")),
    "proxy_protocol": VERSIONED,
    "tls_verify": FLAG,
    "tls_verify_cas": TEXT,
    "file_listing": FLAG,
}

AGENT_TLS: dict[str, Key] = {
    "server_certificate": TEXT,
    "server_private_key": TEXT,
    "mutual_tls_certificate_authorities": TEXTS,
    "min_version": Key(values.one_of("1.2", "1.3")),
    "max_version": Key(values.one_of("1.2", "1.3")),
}

ENDPOINT: dict[str, Key] = {
    "name": Key(values.name),
    "url": TEXTS,
    "bindings": TEXTS,
    "description": Key(values.at_most(255)),
    "metadata": Key(values.at_most(4096)),
    "pooling_enabled": FLAG,
    "inspect": FLAG,
    "traffic_policy": TREE,
    "traffic_policy_file": TEXT,
    "traffic_policy_url": TEXT,
    "agent_tls_termination": Key(shape="map", keys=AGENT_TLS),
    "upstream": Key(shape="map", keys=UPSTREAM),
}

# Where a tunnel's option is found in an endpoint of version 3.
V3_PLACES = {
    "addr": "upstream.url",
    "proto": "the scheme of url",
    "domain": "url",
    "hostname": "url",
    "subdomain": "url",
    "remote_addr": "url",
    "schemes": "url",
    "proxy_proto": "upstream.proxy_protocol",
    "upstream_protocol": "upstream.protocol",
    "app_protocol": "upstream.protocol",
    "crt": "agent_tls_termination.server_certificate",
    "key": "agent_tls_termination.server_private_key",
    "mutual_tls_cas": "agent_tls_termination.mutual_tls_certificate_authorities",
    "terminate_at": "agent_tls_termination",
    "policy": "traffic_policy",
    "policy_file": "traffic_policy_file",
    "upstream_proxy_protocol": "upstream.proxy_protocol",
    "upstream_tls_verify": "upstream.tls_verify",
    "upstream_tls_verify_cas": "upstream.tls_verify_cas",
    "file_listing": "upstream.file_listing",
    **{option: POLICY for option, place in DEPRECATED.items() if place == POLICY and not option.startswith("policy")},
}
