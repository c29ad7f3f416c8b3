"""What a configuration file may say (config.md §3, §4, §5), and what else has a say."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from cli.command import endpoint, plan, run
from cli.config_files import problems, read, write
from portway.config import files, upstream
from portway.config import plan as plans
from portway.config.load import load
from portway.config.schema import AGENT, ENDPOINT, TUNNEL, UPSTREAM, V2_AGENT


@pytest.fixture(autouse=True)
def _nothing_configured(home: Path) -> None:
    """Every test has a home without files."""


# === every key is read

AGENT_VALUES: dict[str, tuple[str, object]] = {
    "authtoken": ("123_456", "123_456"),
    "api_key": ("0x10", "0x10"),
    "api_url": ("https://api.test/", "https://api.test/"),
    "connect_url": ("tls://edge.test/", ["edge.test:443"]),
    "connect_cas": ("host", "host"),
    "connect_interface": ("eth0", "eth0"),
    "connect_timeout": ("1.5h", 5_400_000_000_000),
    "console_ui": ("'true'", "true"),
    "console_ui_color": ("transparent", "transparent"),
    "crl_noverify": ("On", True),
    "crl_url": ("http://crl.test/x", "http://crl.test/x"),
    "dns_fallback": ("No", False),
    "dns_fallback_url": ("https://edge.test/addresses.json", "https://edge.test/addresses.json"),
    "dns_resolver_ips": ("9.9.9.9", ["9.9.9.9"]),
    "heartbeat_interval": ("1m30s", 90_000_000_000),
    "heartbeat_tolerance": ("0", 0),
    "inspect_db_size": ("50MB", 50_000_000),
    "local_storage": ("no", False),
    "log": ("stdout", "stdout"),
    "log_level": ("eror", "eror"),
    "log_format": ("logfmt", "logfmt"),
    "metadata": ("1.10", "1.10"),
    "multi_leg": ("yes", True),
    "proxy_url": ("socks5://u:p@proxy:1080", "socks5://u:p@proxy:1080"),
    "remote_management": ('"false"', False),
    "update_channel": ("beta", "beta"),
    "update_check": ("FALSE", False),
    "web_addr": ("4041", "127.0.0.1:4041"),
    "web_allow_hosts": ("[a.test, .b.test]", ["a.test", ".b.test"]),
}


def test_every_setting_of_an_agent_is_read_in_version_3() -> None:
    assert set(AGENT_VALUES) == set(AGENT)
    lines = [f"  {key}: {text}\n" for key, (text, _) in AGENT_VALUES.items()]
    config = read(Path.cwd(), "version: 3\nagent:\n" + "".join(lines))
    assert config.agent == {key: value for key, (_, value) in AGENT_VALUES.items()}


def test_every_setting_of_an_agent_is_read_in_version_2() -> None:
    older = {"connect_url": "server_addr", "connect_cas": "root_cas"}
    lines = {older.get(key, key): f"{older.get(key, key)}: {text}\n" for key, (text, _) in AGENT_VALUES.items()}
    assert set(lines) | {"region"} == set(V2_AGENT)
    config = read(Path.cwd(), "version: 2\nregion: xx-new-1\n" + "".join(lines.values()))
    assert config.agent == {key: value for key, (_, value) in AGENT_VALUES.items()}


def test_every_option_of_an_endpoint_is_read() -> None:
    text = """
    version: 3
    endpoints:
      - name: all
        url: [tcp://a.internal:5432]
        bindings: internal
        description: d
        metadata: "10:30"
        pooling_enabled: yes
        inspect: no
        traffic_policy_file: policy.yml
        upstream:
          url: tls://db.lan:5433
          proxy_protocol: "1"
    """
    write(Path.cwd() / "policy.yml", "on_tcp_connect: []\n")
    (made,) = plans.endpoints(read(Path.cwd(), text).entries)
    assert {key: made[key] for key in ("proto", "url", "upstream", "bindings", "description", "metadata")} == {
        "proto": "tcp",
        "url": "tcp://a.internal:5432",
        "upstream": "tls://db.lan:5433",
        "bindings": ["internal"],
        "description": "d",
        "metadata": "10:30",
    }
    assert (made["pooling_enabled"], made["inspect"], made["proxy_protocol"]) == (True, False, 1)
    assert made["traffic_policy"] == "on_tcp_connect: []\n"
    assert {"name", "url", "upstream", "traffic_policy_url", "agent_tls_termination"} < set(ENDPOINT)
    assert set(UPSTREAM) == {"url", "protocol", "proxy_protocol", "tls_verify", "tls_verify_cas", "file_listing"}


@pytest.mark.parametrize(
    ("proto", "option", "text", "name", "wire"),
    [
        ("http", "basic_auth", "['ann:longenough']", "BasicAuth",
         {"credentials": [{"username": "ann", "cleartext_password": "longenough"}]}),
        ("http", "circuit_breaker", "0.5", "CircuitBreaker", {"error_threshold": 0.5}),
        ("http", "compression", "true", "Compression", {}),
        ("http", "websocket_tcp_converter", "true", "WebsocketTCPConverter", {}),
        ("tcp", "ip_restriction", "{allow_cidrs: [10.0.0.0/8], deny_cidrs: [10.1.0.0/16]}", "IPRestriction",
         {"allow_cidrs": ["10.0.0.0/8"], "deny_cidrs": ["10.1.0.0/16"]}),
        ("http", "request_header", "{add: ['a: b:c'], remove: [d]}", "RequestHeaders",
         {"add": ["a: b:c"], "remove": ["d"]}),
        ("http", "response_header", "{remove: server}", "ResponseHeaders", {"add": [], "remove": ["server"]}),
        ("http", "host_header", "rewrite", "RequestHeaders", {"add": ["host:localhost:80"], "remove": []}),
        ("http", "host_header", "a.test", "HostHeaderRewrite", True),
        ("http", "user_agent_filter", "{allow: ['^curl'], deny: [bot]}", "UserAgentFilter",
         {"allow": ["^curl"], "deny": ["bot"]}),
        ("http", "verify_webhook", "{provider: github, secret: s}", "WebhookVerification",
         {"provider": "github", "secret": "s"}),
        ("http", "oauth", "{provider: google, allow_domains: [a.test]}", "OAuth",
         {"provider": "google", "allow_domains": ["a.test"]}),
        ("http", "oidc", "{issuer_url: https://i.test, client_id: c}", "OIDC",
         {"issuer_url": "https://i.test", "client_id": "c"}),
        ("http", "mutual_tls_cas", "ca.pem", "MutualTLSCA", {"mutual_tls_ca": "cGVt"}),
        ("tls", "terminate_at", "edge", "TLSTermination", {}),
        ("http", "subdomain", "shop", "Subdomain", "shop"),
    ],
)  # fmt: skip
def test_an_old_option_of_a_tunnel_is_what_the_edge_is_asked_for(
    proto: str, option: str, text: str, name: str, wire: object
) -> None:
    write(Path.cwd() / "ca.pem", "pem")
    config = read(Path.cwd(), f"version: 2\ntunnels:\n  t: {{proto: {proto}, addr: 80, {option}: {text}}}\n")
    (made,) = plans.endpoints(config.entries)
    assert made["opts"][name] == wire


@pytest.mark.parametrize(
    ("proto", "option", "text", "key", "value"),
    [
        ("http", "url", "a.test", "url", "https://a.test"),
        ("http", "domain", "'*.a.test'", "url", "https://*.a.test"),
        ("tls", "hostname", "a.test", "url", "tls://a.test"),
        ("tcp", "remote_addr", "a.test:1", "url", "tcp://a.test:1"),
        ("http", "schemes", "http", "url", "http://"),
        ("http", "name", "n", "name", "n"),
        ("http", "proxy_proto", "2", "proxy_protocol", 2),
        ("http", "upstream_proxy_protocol", "1", "proxy_protocol", 1),
        ("http", "app_protocol", "http2", "upstream_protocol", "http2"),
        ("http", "upstream_protocol", "http2", "upstream_protocol", "http2"),
        ("http", "upstream_tls_verify", "true", "tls_verify", True),
        ("http", "upstream_tls_verify_cas", "ca.pem", "tls_verify_cas", "pem"),
        ("http", "file_listing", "false", "listing", False),
        ("http", "policy_file", "ca.pem", "traffic_policy", "pem"),
        ("http", "policy", "{inbound: []}", "traffic_policy", '{"inbound": []}'),
        ("http", "inspect", "false", "inspect", False),
        ("http", "metadata", "m", "metadata", "m"),
    ],
)  # fmt: skip
def test_an_option_of_a_tunnel_has_its_place_in_the_plan(
    proto: str, option: str, text: str, key: str, value: object
) -> None:
    write(Path.cwd() / "ca.pem", "pem")
    assert option in TUNNEL
    config = read(Path.cwd(), f"version: 2\ntunnels:\n  t: {{proto: {proto}, addr: 80, {option}: {text}}}\n")
    (made,) = plans.endpoints(config.entries)
    assert made[key] == value


def test_a_tunnel_may_stand_in_a_file_of_version_3() -> None:
    config = read(
        Path.cwd(),
        """
        version: 3
        endpoints:
          - {name: new, upstream: {url: 1}}
        tunnels:
          old: {proto: tcp, addr: 22}
        """,
    )
    assert [entry.name for entry in config.entries] == ["new", "old"]


def test_tls_ends_in_the_agent_where_it_has_the_key_and_at_the_edge_when_asked() -> None:
    for name in ("c.pem", "k.pem"):
        write(Path.cwd() / name, name)
    pair = "crt: c.pem, key: k.pem"
    config = read(
        Path.cwd(),
        f"""
        version: 2
        tunnels:
          own: {{proto: tls, addr: 80, {pair}}}
          edge: {{proto: tls, addr: 80, terminate_at: edge, {pair}}}
          through: {{proto: tls, addr: 80}}
          named: {{proto: tls, addr: 80, terminate_at: upstream, {pair}}}
        """,
    )
    own, edge, through, named = plans.endpoints(config.entries)
    tls = own["agent_tls"]
    assert [tls[part]["text"] for part in ("cert", "key")] == ["c.pem", "k.pem"]
    assert [tls[part]["file"] for part in ("cert", "key")] == [str(Path.cwd() / name) for name in ("c.pem", "k.pem")]
    assert tls["client_cas"] == []
    assert set(edge["opts"]["TLSTermination"]) == {"cert", "key"}
    assert [one["agent_tls"] for one in (edge, through, named)] == [None, None, None]
    assert "TLSTermination" not in through["opts"] | named["opts"] | own["opts"]


@pytest.mark.parametrize(
    ("option", "told"),
    [
        ("basic_auth: [nocolon]", "basic_auth: write user:password"),
        ("basic_auth: ['ann:short']", "8 to 128 characters"),
        ("circuit_breaker: 20", "circuit_breaker: 20.0 is not between 0 and 1"),
        ("ip_restriction: {deny_cidrs: [10.0.0.0/33]}", "'10.0.0.0/33' is neither an address nor a range"),
        ("request_header: {add: [nocolon]}", "request_header.add: 'nocolon' is no header: write it as name:value"),
        ("verify_webhook: {secret: x}", "verify_webhook names no provider"),
        ("mutual_tls_cas: /nowhere/ca.pem", "/nowhere/ca.pem: No such file or directory"),
        ("traffic_policy_file: /nowhere/p.yml", "/nowhere/p.yml: No such file or directory"),
        ("traffic_policy_url: ftp://x", "'ftp://x' is no http or https URL"),
        ("traffic_policy_url: 'http://127.0.0.1:1/p'", "cannot fetch http://127.0.0.1:1/p"),
        ("traffic_policy_url: 'http://ann:word@127.0.0.1:1/p'", "this URL holds a user or a password"),
        ("bindings: [moon]", "the binding 'moon' is not public, internal or kubernetes"),
    ],
)
def test_what_an_endpoint_cannot_be_started_with_is_told_when_it_is(
    option: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(Path.cwd() / "c.yml", f"version: 2\ntunnels:\n  odd:\n    proto: http\n    addr: 80\n    {option}\n")
    assert run(capsys, "config", "check", "--config", str(file))[0] == 0
    code, out, err = run(capsys, "start", "odd", "--config", str(file), "--connect-url", "e.test")
    assert (code, out) == (1, "")
    assert 'line 3, column 1: endpoint "odd": ' in err
    assert told in err


def test_a_tunnel_on_the_command_line_has_labels(capsys: pytest.CaptureFixture[str]) -> None:
    made = endpoint("tunnel", "8080", "--label", "a=b", "--label=c=d", "--name", "n")
    assert (made["name"], made["labels"], made["upstream"]) == ("n", {"a": "b", "c": "d"}, "http://localhost:8080")
    assert "A tunnel needs labels" in run(capsys, "tunnel", "80")[2]


def test_tls_of_a_tunnel_by_labels_ends_in_the_agent() -> None:
    for name in ("c.pem", "k.pem", "ca.pem"):
        write(Path.cwd() / name, name)
    flags = ("--crt", "c.pem", "--key", "k.pem", "--mutual-tls-cas", "ca.pem", "--pooling-enabled")
    made = endpoint("tunnel", "8080", "--label", "a=b", *flags)
    assert (made["proto"], made["labels"], made["pooling_enabled"]) == ("tls", {"a": "b"}, True)
    assert [pem["text"] for pem in made["agent_tls"]["client_cas"]] == ["ca.pem"]


def test_labels_in_version_2_are_those_of_the_plan(capsys: pytest.CaptureFixture[str]) -> None:
    file = write(Path.cwd() / "c.yml", "version: 2\ntunnels:\n  l: {labels: [a=b, c=d=e], addr: 80}\n")
    (made,) = plan("start", "l", "--config", str(file))["endpoints"]
    assert (made["labels"], made["url"], made["upstream"]) == ({"a": "b", "c": "d=e"}, "", "http://localhost:80")
    write(file, "version: 2\ntunnels:\n  l: {labels: [ab], addr: 80}\n")
    assert "'ab' is no label: write it as key=value" in run(capsys, "start", "l", "--config", str(file))[2]


def test_labels_are_told_to_be_gone_when_started(capsys: pytest.CaptureFixture[str]) -> None:
    file = write(Path.cwd() / "c.yml", "version: 3\ntunnels:\n  l: {labels: [a=b], addr: 80}\n")
    assert run(capsys, "config", "check", "--config", str(file))[0] == 0
    _, _, err = run(capsys, "start", "l", "--config", str(file))
    assert "endpoints by labels are not supported in version 3" in err


# === YAML


def test_texts_are_what_is_written_not_what_some_yaml_makes_of_them() -> None:
    words = ("no", "1.10", "10:30", "0o17", "123_456", "2024-01-01", "1e3", ".5", "y", "~x", "0x1F")
    for word in words:
        config = read(Path.cwd(), f"version: 3\nagent:\n  metadata: {word}\n")
        assert config.agent == {"metadata": word}


def test_nothing_behind_a_key_is_the_key_left_out() -> None:
    first = write(Path.cwd() / "a.yml", "version: 3\nagent: {metadata: kept}\n")
    second = write(Path.cwd() / "b.yml", "version: 3\nagent:\n  metadata:\nendpoints:\ntunnels: ~\n")
    assert load([first, second]).agent == {"metadata": "kept"}


def test_anchors_aliases_and_merge_keys_are_followed() -> None:
    config = read(
        Path.cwd(),
        """
        version: 2
        tunnels:
          a: &a {proto: http, addr: 80, inspect: false}
          b:
            <<: *a
            addr: 81
        """,
    )
    first, second = plans.endpoints(config.entries)
    assert (first["upstream"], second["upstream"]) == ("http://localhost:80", "http://localhost:81")
    assert second["inspect"] is False


def test_endpoints_may_be_made_of_others() -> None:
    config = read(
        Path.cwd(),
        """
        version: 3
        endpoints:
          - &a
            name: a
            upstream: &up {url: 80, protocol: http2}
          - <<: *a
            name: b
          - <<: [{name: c, inspect: false}, *a]
          - name: d
            upstream: {<<: *up, url: 81}
        """,
    )
    made = plans.endpoints(config.entries)
    assert [(one["name"], one["upstream"], one["inspect"]) for one in made] == [
        ("a", "http://localhost:80", True),
        ("b", "http://localhost:80", True),
        ("c", "http://localhost:80", False),
        ("d", "http://localhost:81", True),
    ]
    assert {one["upstream_protocol"] for one in made} == {"http2"}


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffversion: 3\r\nagent:\r\n  metadata: m\r\n",
        '{"version": 3, "agent": {"metadata": "m"}}',
        '\n{\n\t"version": 3,\n\t"agent": {\n\t\t"metadata": "m"\n\t}\n}\n',
    ],
)
def test_windows_files_and_json_are_read(text: str) -> None:
    path = Path.cwd() / "c.yml"
    path.write_bytes(text.encode())
    assert load([path]).agent == {"metadata": "m"}


def test_versions_may_be_mixed() -> None:
    old = write(Path.cwd() / "old.yml", "version: 2\nserver_addr: e.test:443\ntunnels:\n  t: {proto: tcp, addr: 22}\n")
    new = write(Path.cwd() / "new.yml", "version: 3\nendpoints:\n  - {name: e, upstream: {url: 80}}\n")
    config = load([old, new])
    assert config.versions == [2, 3]
    assert config.agent == {"connect_url": ["e.test:443"]}
    assert [entry.name for entry in config.entries] == ["e", "t"]


def test_protocol_https_is_taken_for_http1_and_told() -> None:
    config = read(Path.cwd(), "version: 3\nendpoints:\n  - {name: e, upstream: {url: 80, protocol: https}}\n")
    assert plans.endpoints(config.entries)[0]["upstream_protocol"] == "http1"
    assert config.notices == ['endpoints[0] "e": upstream.protocol: https is no protocol here, http1 is taken']


# === upstreams


@pytest.mark.parametrize(
    ("text", "http", "tls", "tcp"),
    [
        ("8080", "http://localhost:8080", "localhost:8080", "localhost:8080"),
        ("443", "https://localhost:443", "tls://localhost:443", "localhost:443"),
        ("host:8080", "http://host:8080", "host:8080", "host:8080"),
        ("host:443", "https://host:443", "tls://host:443", "host:443"),
        ("https://host", "https://host:443", None, None),
        ("http://host:443", "http://host:443", None, None),
        ("tls://host:1", None, "tls://host:1", "tls://host:1"),
        ("tcp://host:1", None, "host:1", "host:1"),
        ("[::1]:80", "http://[::1]:80", "[::1]:80", "[::1]:80"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443", None, None),
        ("host", "http://host:80", None, None),
        ("http://", "http://localhost:80", None, None),
        ("file:///var/log", "file:///var/log", None, None),
        ("unix:///run/app.sock", "unix:///run/app.sock", "unix:///run/app.sock", "unix:///run/app.sock"),
        ("", None, None, None),
        (":", None, None, None),
        ("host:", None, None, None),
        ("https://host:", None, None, None),
        ("0", None, None, None),
        ("65536", None, None, None),
        ("host:port", None, None, None),
        ("::1:80", None, None, None),
        ("file:logs", None, None, None),
        ("unix:app.sock", None, None, None),
        ("ftp://host:21", None, None, None),
    ],
)
def test_addresses_of_upstreams(text: str, http: str | None, tls: str | None, tcp: str | None) -> None:
    for proto, wanted in (("http", http), ("tls", tls), ("tcp", tcp)):
        if wanted is None:
            with pytest.raises(ValueError, match=r"."):
                upstream.normalise(text, proto)
        else:
            assert upstream.normalise(text, proto).addr == wanted, proto


# === where settings come from


@pytest.mark.parametrize(
    ("variables", "flags", "wanted"),
    [
        ({}, (), "of-file"),
        ({"NGROK_AUTHTOKEN": "n"}, (), "n"),
        ({"NGROK_AUTHTOKEN": "n", "PORTWAY_AUTHTOKEN": "p"}, (), "p"),
        ({"NGROK_AUTHTOKEN": "n", "PORTWAY_AUTHTOKEN": ""}, (), "n"),
        ({"PORTWAY_AUTHTOKEN": "p"}, ("--authtoken", "f"), "f"),
    ],
)
def test_a_flag_wins_over_our_variable_over_theirs_over_the_file(
    variables: dict[str, str], flags: tuple[str, ...], wanted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    file = write(Path.cwd() / "c.yml", "version: 3\nagent: {authtoken: of-file, connect_url: e.test}\n")
    assert plan("http", "80", "--config", str(file), *flags)["authtoken"] == wanted


def test_variables_say_where_the_edge_is_and_whom_to_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTWAY_CONNECT_URL", "one.test,two.test:8443")
    monkeypatch.setenv("PORTWAY_CONNECT_CAS", "host")
    file = write(Path.cwd() / "c.yml", "version: 2\nserver_addr: e.test:443\nroot_cas: trusted\n")
    edge = plan("http", "80", "--config", str(file))["edge"]
    assert (edge["addrs"], edge["cas"]) == (["one.test:443", "two.test:8443"], {"kind": "host"})
    flags = ("--connect-url", "f.test", "--connect-cas", f"pin:sha256:{'AB' * 32}")
    edge = plan("http", "80", "--config", str(file), *flags)["edge"]
    assert (edge["addrs"], edge["cas"]) == (["f.test:443"], {"kind": "pin", "value": "ab" * 32})


def test_a_variable_names_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    first = write(Path.cwd() / "a.yml", "version: 3\nagent: {metadata: a}\n")
    second = write(Path.cwd() / "b.yml", "version: 3\nagent: {metadata: b}\n")
    monkeypatch.setenv("NGROK_CONFIG", str(first))
    assert plan("http", "80")["metadata"] == "a"
    monkeypatch.setenv("PORTWAY_CONFIG", f"{first},{second}")
    assert plan("http", "80")["metadata"] == "b"
    assert plan("http", "80", "--config", str(first))["metadata"] == "a"


def test_our_file_comes_before_theirs_unless_we_go_by_their_name(home: Path) -> None:
    ours = home / ".config" / "portway" / "portway.yml"
    theirs = home / ".config" / "ngrok" / "ngrok.yml"
    oldest = home / ".ngrok2" / "ngrok.yml"
    env = dict(os.environ)
    assert files.search([], env) == files.Found((), ours)
    assert files.search([], env, "ngrok") == files.Found((), theirs)
    write(oldest, "version: 2\n")
    assert files.search([], env) == files.Found((oldest,), ours, fallback=True)
    write(theirs, "version: 2\n")
    assert files.search([], env) == files.Found((theirs,), ours, fallback=True)
    write(ours, "version: 3\n")
    assert files.search([], env) == files.Found((ours,), ours)
    assert files.search([], env, "ngrok") == files.Found((theirs,), theirs)


def test_the_ca_of_an_edge_is_looked_for_beside_the_file_that_names_it(home: Path) -> None:
    write(home / "conf" / "edge-ca.pem", "pem")
    for text in ("version: 2\nroot_cas: ./edge-ca.pem\n", "version: 3\nagent: {connect_cas: edge-ca.pem}\n"):
        file = write(home / "conf" / "c.yml", text)
        edge = plan("http", "80", "--config", str(file), "--connect-url", "e.test")["edge"]
        assert edge["cas"] == {"kind": "file", "value": str(home / "conf" / "edge-ca.pem")}
    write(home / "edge-ca.pem", "of the working directory")
    file = home / "conf" / "c.yml"
    edge = plan("http", "80", "--config", str(file), "--connect-url", "e.test")["edge"]
    assert edge["cas"] == {"kind": "file", "value": str(home / "edge-ca.pem")}


@pytest.mark.parametrize(
    ("cas", "told"),
    [("/nowhere/ca.pem", "there is no file /nowhere/ca.pem"), ("pin:sha256:12", "is no pin such as pin:sha256:HEX")],
)
def test_a_ca_that_cannot_be_is_told_before_connecting(cas: str, told: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "http", "80", "--connect-url", "e.test", "--connect-cas", cas)
    assert code == 1
    assert told in err


@pytest.mark.parametrize(
    ("variables", "flags", "source"),
    [
        ({"NGROK_AUTHTOKEN": "s3cr3t"}, (), "NGROK_AUTHTOKEN"),
        ({}, ("--authtoken", "s3cr3t"), "--authtoken"),
        ({}, ("--config", "c.yml"), "in the configuration file"),
    ],
)
def test_a_token_without_an_edge_is_an_error_that_names_where_it_came_from(
    variables: dict[str, str],
    flags: tuple[str, ...],
    source: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(Path.cwd() / "c.yml", "version: 3\nagent: {authtoken: s3cr3t}\n")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    code, _, err = run(capsys, "http", "80", *flags)
    assert code == 1
    assert f"There is an authtoken ({source}), but no edge to use it with." in err
    assert "portway config join" in err
    assert "s3cr3t" not in err


def test_the_file_gives_a_command_line_endpoint_settings_of_the_agent_only() -> None:
    file = write(Path.cwd() / "c.yml", "version: 3\nendpoints:\n  - {name: e, upstream: {url: 1}}\n")
    made = endpoint("http", "80", "--config", str(file))
    assert (made["name"], made["upstream"]) == ("command_line", "http://localhost:80")


def test_metadata_before_the_command_is_that_of_the_session() -> None:
    made = plan("--metadata", "of-session", "http", "80", "--metadata", "of-endpoint")
    assert (made["metadata"], made["endpoints"][0]["metadata"]) == ("of-session", "of-endpoint")


# === start


THREE = """\
version: 3
endpoints:
  - {name: shop, upstream: {url: 1}}
  - {name: blog, upstream: {url: 2}}
tunnels:
  ssh: {proto: tcp, addr: 22}
"""


@pytest.mark.parametrize(
    ("words", "started"),
    [
        (["blog", "ssh"], ["blog", "ssh"]),
        (["ssh", "ssh"], ["ssh"]),
        (["--all"], ["shop", "blog", "ssh"]),
        (["--none"], []),
        (["--all=true"], ["shop", "blog", "ssh"]),
    ],
)
def test_start_takes_names_all_or_none(words: list[str], started: list[str]) -> None:
    file = write(Path.cwd() / "c.yml", THREE)
    made = plan("start", *words, "--config", str(file))
    assert [one["name"] for one in made["endpoints"]] == started


def test_start_names_what_there_is_when_a_name_is_unknown(capsys: pytest.CaptureFixture[str]) -> None:
    file = write(Path.cwd() / "c.yml", THREE)
    code, _, err = run(capsys, "start", "shpo", "--config", str(file))
    assert code == 1
    assert err.splitlines() == [
        "ERROR:  Tunnel 'shpo' is not defined in the config files.",
        "ERROR:  Tunnels available: shop, blog, ssh",
        f"ERROR:  Config files read: [{file}]",
        "ERROR:  Did you mean shop?",
    ]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "Name the endpoints to start, or use --all"),
        (["--all", "shop"], "exclude each other"),
        (["--all", "--none"], "exclude each other"),
    ],
)
def test_start_wants_to_be_told_what(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(Path.cwd() / "c.yml", THREE)
    code, _, err = run(capsys, "start", *words, "--config", str(file))
    assert code == 1
    assert told in err


def test_problems_list_what_is_wrong_with_each_of_many_endpoints() -> None:
    text = "version: 3\nendpoints:\n" + "".join(f"  - {{name: e{n}, upstream: {{url: 0}}}}\n" for n in range(3))
    told: list[Any] = problems(Path.cwd(), text)
    assert [one.split(" ")[0] for one in told] == ["3:32", "4:32", "5:32"]
