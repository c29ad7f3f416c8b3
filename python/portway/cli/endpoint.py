"""`portway http`, `tcp` and `tls`: one endpoint from flags. The file gives settings of the agent only (config.md §10).

The tables follow cli.md §3. What a flag means is told to `portway.config` in the words of a tunnel definition, whose
options have the names of the flags, so that file and command line cannot differ.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

from portway.cli.options import Flag, Given, command, headers
from portway.cli.report import CommandError
from portway.config.schema import TUNNEL, UNTIL_POLICIES
from portway.launch import Launch

# `H` http, `T` tcp, `S` tls, `L` tunnel (by labels): the commands that have the flag.
CURRENT = {
    Flag("url", "text", "Public URL or name; a random one if absent", "URL"): "HTS",
    Flag("name", "text", "Name of the endpoint in logs and APIs", "NAME"): "HTSL",
    Flag("description", "text", "What it is for, up to 255 bytes", "TEXT"): "HTSL",
    Flag("metadata", "text", "Stored by the edge with the endpoint, up to 4096 bytes", "TEXT"): "HTSL",
    Flag("binding", "list", "public, internal or kubernetes", "BINDING"): "HTS",
    Flag("pooling-enabled", "flag", "Share the URL with other endpoints that do too"): "HTSL",
    Flag("traffic-policy-file", "text", "Traffic policy, YAML or JSON", "FILE"): "HTS",
    Flag("traffic-policy-url", "text", "The same, fetched at start", "URL"): "HTS",
    Flag("inspect", "flag", "Keep requests for the local inspector (default; off: --inspect=false)"): "HL",
    Flag(
        "upstream-proxy-protocol", "text", "Write a PROXY header of version 1 or 2 to the upstream", "VERSION"
    ): "HTSL",
    Flag("upstream-tls-verify", "flag", "Verify the certificate of the upstream"): "HS",
    Flag("upstream-tls-verify-cas", "text", "PEM file with the CAs for that", "FILE"): "HS",
    Flag("upstream-protocol", "text", "http1 (default) or http2", "PROTOCOL"): "HL",
    Flag(
        "file-listing", "flag", "Show what is in a folder that has no index page (default; off: --no-file-listing)"
    ): "H",
    Flag("label", "list", "A label the edge knows the endpoint by, key=value; repeatable", "LABEL"): "L",
    Flag("crt", "text", "PEM certificate: TLS ends in this agent", "FILE"): "SL",
    Flag("key", "text", "Its private key", "FILE"): "SL",
    Flag("mutual-tls-cas", "text", "PEM file with CAs: visitors must show a certificate of these", "FILE"): "SL",
    Flag("cidr-allow", "list", "Let in visitors from these networks only", "CIDR"): "TS",
    Flag("cidr-deny", "list", "Turn away visitors from these networks", "CIDR"): "TS",
}


def _policy(action: str) -> str:
    return f"keep it {UNTIL_POLICIES}, then use the action {action}"


DEPRECATED = {
    Flag("domain", "text", instead="use --url instead"): "HS",
    Flag("hostname", "text", instead="use --domain instead"): "HS",
    Flag("subdomain", "text", instead="use --domain instead"): "HS",
    Flag("remote-addr", "text", instead="use --url instead"): "T",
    Flag("scheme", "list", instead="use --url instead"): "H",
    Flag("region", "text", instead="the region is chosen automatically"): "HTSL",
    Flag("app-protocol", "text", instead="use --upstream-protocol instead"): "HL",
    Flag("proxy-proto", "text", instead="use --upstream-proxy-protocol instead"): "HTSL",
    Flag("policy-file", "text", instead="use --traffic-policy-file instead"): "HTS",
    Flag("verify-upstream-tls", "flag", instead="use --upstream-tls-verify instead"): "HS",
    Flag("upstream-ca-path", "text", instead="use --upstream-tls-verify-cas instead"): "HS",
    Flag("terminate-at", "text", instead="use --crt and --key for TLS that ends in the agent"): "S",
    Flag("basic-auth", "list", instead=_policy("basic-auth")): "H",
    Flag("cidr-allow", "list", instead=_policy("restrict-ips")): "H",
    Flag("cidr-deny", "list", instead=_policy("restrict-ips")): "H",
    Flag("circuit-breaker", "text", instead=_policy("circuit-breaker")): "H",
    Flag("compression", "flag", instead=_policy("compress-response")): "H",
    Flag("host-header", "text", instead=_policy("add-headers")): "H",
    Flag("mutual-tls-cas", "text", instead=_policy("terminate-tls")): "H",
    Flag("oauth", "text", instead=_policy("oauth")): "H",
    Flag("oauth-allow-domain", "list", instead=_policy("oauth")): "H",
    Flag("oauth-allow-email", "list", instead=_policy("oauth")): "H",
    Flag("oauth-scope", "list", instead=_policy("oauth")): "H",
    Flag("oauth-client-id", "text", instead=_policy("oauth")): "H",
    Flag("oauth-client-secret", "text", instead=_policy("oauth")): "H",
    Flag("oidc", "text", instead=_policy("openid-connect")): "H",
    Flag("oidc-client-id", "text", instead=_policy("openid-connect")): "H",
    Flag("oidc-client-secret", "text", instead=_policy("openid-connect")): "H",
    Flag("oidc-scope", "list", instead=_policy("openid-connect")): "H",
    Flag("request-header-add", "list", instead=_policy("add-headers")): "H",
    Flag("request-header-remove", "list", instead=_policy("remove-headers")): "H",
    Flag("response-header-add", "list", instead=_policy("add-headers")): "H",
    Flag("response-header-remove", "list", instead=_policy("remove-headers")): "H",
    Flag("ua-filter-allow", "list", instead=_policy("deny")): "H",
    Flag("ua-filter-deny", "list", instead=_policy("deny")): "H",
    Flag("verify-webhook", "text", instead=_policy("verify-webhook")): "H",
    Flag("verify-webhook-secret", "text", instead=_policy("verify-webhook")): "H",
    Flag("websocket-tcp-converter", "flag", instead="nothing takes its place"): "H",
}

# Flags that are one option of a tunnel definition under another name, or part of one.
PLACES = {
    "binding": "bindings",
    "label": "labels",
    "scheme": "schemes",
    "cidr_allow": "ip_restriction.allow_cidrs",
    "cidr_deny": "ip_restriction.deny_cidrs",
    "oauth": "oauth.provider",
    "oauth_allow_domain": "oauth.allow_domains",
    "oauth_allow_email": "oauth.allow_emails",
    "oauth_scope": "oauth.scopes",
    "oauth_client_id": "oauth.client_id",
    "oauth_client_secret": "oauth.client_secret",
    "oidc": "oidc.issuer_url",
    "oidc_client_id": "oidc.client_id",
    "oidc_client_secret": "oidc.client_secret",
    "oidc_scope": "oidc.scopes",
    "request_header_add": "request_header.add",
    "request_header_remove": "request_header.remove",
    "response_header_add": "response_header.add",
    "response_header_remove": "response_header.remove",
    "ua_filter_allow": "user_agent_filter.allow",
    "ua_filter_deny": "user_agent_filter.deny",
    "verify_webhook": "verify_webhook.provider",
    "verify_webhook_secret": "verify_webhook.secret",
    "verify_upstream_tls": "upstream_tls_verify",
    "upstream_ca_path": "upstream_tls_verify_cas",
    "app_protocol": "upstream_protocol",
    "proxy_proto": "upstream_proxy_protocol",
    "policy_file": "traffic_policy_file",
}

# Flags whose values are looked at as those of a file are; the others are when the endpoint is planned.
LIMITED = frozenset(("name", "description", "metadata", "subdomain", "terminate_at"))

Upstream = Annotated[
    str, typer.Argument(metavar="UPSTREAM", help="Port, host:port, URL, unix: socket or file:// folder")
]
StreamUpstream = Annotated[
    str, typer.Argument(metavar="UPSTREAM", help="Port, host:port, tls://host:port or unix: socket")
]


def flags_of(proto: str) -> list[Flag]:
    letter = {"http": "H", "tcp": "T", "tls": "S", "tunnel": "L"}[proto]
    return [flag for table in (CURRENT, DEPRECATED) for flag, commands in table.items() if letter in commands]


def options(proto: str, given: Given) -> dict[str, Any]:
    """The flags as a tunnel definition of configuration version 2 (config.md §5.2).

    A deprecated flag gives way to the one that took its place.
    """
    definition: dict[str, Any] = {} if proto == "tunnel" else {"proto": proto}
    flags = flags_of(proto)
    for flag in sorted(flags, key=lambda flag: not flag.instead):
        value = _value(flag, given)
        if value in (None, []) or flag.name == "region":
            continue
        if flag.key in LIMITED:
            _check(flag, str(value))
        if flag.name == "name":
            continue
        *outer, last = PLACES.get(flag.key, flag.key).split(".")
        place = definition
        for part in outer:
            place = place.setdefault(part, {})
        place[last] = value
    return definition


def _value(flag: Flag, given: Given) -> Any:
    if flag.name.endswith("-header-add"):
        return headers(given.repeated(flag.key))
    read = {"text": given.text, "list": given.many, "flag": given.flag}[flag.kind]
    return read(flag.key)


def _check(flag: Flag, value: str) -> None:
    try:
        TUNNEL[flag.key].parse(value)
    except ValueError as error:
        raise CommandError(f'invalid argument for "--{flag.name}" flag: {error}') from None


def run(proto: str, given: Given, upstream: str) -> Launch:
    from portway.cli.agent import Settings

    policies = [key for key in ("traffic_policy_file", "traffic_policy_url", "policy_file") if given.text(key)]
    if len(policies) > 1:
        names = " and ".join("--" + key.replace("_", "-") for key in policies)
        raise CommandError(f"{names} exclude each other: an endpoint has one traffic policy.")
    settings = Settings.read(given)
    definition = {**options(proto, given), "addr": upstream}
    return Launch("agent", settings.plan_of_one(given.text("name") or "command_line", definition))


def http(given: Given, upstream: Upstream) -> Launch:
    """Give a local HTTP service a public URL."""
    return run("http", given, upstream)


def tcp(given: Given, upstream: StreamUpstream) -> Launch:
    """Give a local TCP service a public address."""
    return run("tcp", given, upstream)


def tls(given: Given, upstream: StreamUpstream) -> Launch:
    """Give a local TLS service a public name."""
    return run("tls", given, upstream)


def tunnel(given: Given, upstream: Upstream) -> Launch:
    """Serve an endpoint that the edge knows by labels."""
    if not given.many("label"):
        raise CommandError("A tunnel needs labels: add --label key=value.")
    return run("tunnel", given, upstream)


HTTP_EXAMPLES = """\
  portway http 8080                                the service on port 8080
  portway http 192.168.1.2:80                      one of another machine
  portway http https://localhost:8443              one that speaks TLS
  portway http file:///srv/site                    a folder
  portway http 8080 --url shop.example.com         under a name
"""
TCP_EXAMPLES = """\
  portway tcp 22                                   the service on port 22
  portway tcp 5432 --url tcp://example.com:20001   under a port of the edge
"""
TLS_EXAMPLES = """\
  portway tls 443 --url shop.example.com                           TLS ends at the service
  portway tls 80 --url shop.example.com --crt c.pem --key k.pem    TLS ends in this agent
"""

http_command = partial(command, http, flags_of("http"), HTTP_EXAMPLES)
tcp_command = partial(command, tcp, flags_of("tcp"), TCP_EXAMPLES)
tls_command = partial(command, tls, flags_of("tls"), TLS_EXAMPLES)
tunnel_command = partial(command, tunnel, flags_of("tunnel"), "  portway tunnel 8080 --label app=shop\n")
