"""The worked examples of config.md §11, each with the meaning it must have."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.command import plan, run
from cli.config_files import problems, read, shape, write
from portway.config import plan as plans
from portway.config.load import load

F2 = """\
version: 3
agent:
  authtoken: 2abcDEF_9
  connect_url: connect.edge.test:443
endpoints:
  - name: shop
    url: shop.edge.test
    upstream:
      url: 8080
  - name: db
    url: tcp://
    upstream: {url: 5432}
  - name: any
    upstream: {url: nas.lan}
  - name: sec
    url: https://
    upstream: {url: "https://"}
"""

F6 = """\
version: 2
region: us
authtoken: tok-A
tunnels:
  site:
    proto: http
    addr: "3000"
    domain: site.edge.test
    schemes: [http, https]
    basic_auth: ["ann:longenough"]
  ssh:
    proto: tcp
    addr: 22
    remote_addr: tcp.edge.test:20022
"""

F7 = """\
version: "2"
tunnels:
  odd:
    proto: http
    addr: "5000"
    inspect: false
    basic_auth: [no-colon-here]
    circuit_breaker: 20
    ip_restriction: {allow_cidrs: [nonsense], deny_cidrs: [rubbish]}
    request_header: {add: [nocolon], remove: [x]}
    proxy_proto: "1"
    traffic_policy: {on_http_request: {name: n, expressions: e, actions: {type: t}}}
"""


def test_f1_a_version_alone_is_a_file_with_nothing_to_start(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(write(home / "f1.yml", 'version: "3"\n'))
    assert plan("start", "--none", "--config", file)["endpoints"] == []
    code, _, err = run(capsys, "start", "--all", "--config", file)
    assert code == 1
    assert "start --none" in err


def test_f2_short_forms_in_their_order(home: Path) -> None:
    made = plan("start", "--all", "--config", str(write(home / "f2.yml", F2)))
    assert shape(made["endpoints"]) == [
        ("shop", "https://shop.edge.test", "http://localhost:8080"),
        ("db", "tcp://", "localhost:5432"),
        ("any", "https://", "http://nas.lan:80"),
        ("sec", "https://", "https://localhost:443"),
    ]
    assert made["authtoken"] == "2abcDEF_9"
    assert (made["edge"]["addrs"], made["edge"]["cas"]) == (["connect.edge.test:443"], {"kind": "trusted"})


def test_f3_all_of_an_endpoint(home: Path) -> None:
    config = read(
        home,
        """
        version: 3
        endpoints:
          - name: orders
            url: https://orders.internal
            bindings: [internal]
            description: order service
            metadata: '{"team": "blue"}'
            pooling_enabled: true
            inspect: false
            traffic_policy:
              on_http_request:
                - actions:
                    - type: add-headers
                      config: {headers: {x-country: NO}}
            upstream:
              url: https://10.0.0.7:8443
              protocol: http2
              proxy_protocol: 2
        """,
    )
    (made,) = plans.endpoints(config.entries)
    assert made["bindings"] == ["internal"]
    assert made["upstream"] == "https://10.0.0.7:8443"
    assert (made["upstream_protocol"], made["proxy_protocol"]) == ("http2", 2)
    assert (made["pooling_enabled"], made["inspect"]) == (True, False)
    assert (made["description"], made["metadata"]) == ("order service", '{"team": "blue"}')
    (rule,) = json.loads(made["traffic_policy"])["on_http_request"]
    assert rule["actions"][0]["config"]["headers"] == {"x-country": "NO"}


def test_f4_settings_of_the_agent(home: Path) -> None:
    file = write(
        home / "f4.yml",
        """
        version: 3
        agent:
          authtoken: 00123_456
          connect_cas: host
          connect_timeout: 2.5s
          heartbeat_interval: 1m30s
          inspect_db_size: -1
          web_addr: false
          log: stderr
          log_format: json
          console_ui: iftty
          dns_resolver_ips: [192.0.2.53, "2001:db8::53"]
        """,
    )
    agent = load([file]).agent
    assert agent["authtoken"] == "00123_456"
    assert (agent["inspect_db_size"], agent["web_addr"]) == (-1, "false")
    assert agent["dns_resolver_ips"] == ["192.0.2.53", "2001:db8::53"]
    made = plan("start", "--none", "--config", str(file), "--connect-url", "edge.test")
    assert (made["edge"]["addrs"], made["edge"]["cas"]) == (["edge.test:443"], {"kind": "host"})
    assert made["edge"]["dns"]["servers"] == ["192.0.2.53:53", "[2001:db8::53]:53"]
    assert (made["connect_timeout_ms"], made["heartbeat_interval_ms"]) == (2500, 90_000)
    assert "heartbeat_tolerance_ms" not in made, "15 s is the default of the agent itself"
    assert made["log"] == {"target": "stderr", "level": "info", "format": "json"}
    assert made["console"]["show"] is False


F5 = """\
version: 3
endpoints:
  - name: vault
    url: {scheme}://vault.edge.test
    agent_tls_termination:
      server_certificate: ./vault.crt
      server_private_key: ./vault.key
      mutual_tls_certificate_authorities: [./ca.pem]
    upstream: {{url: 9000}}
"""


def test_f5_tls_ends_in_the_agent(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("vault.crt", "vault.key", "ca.pem"):
        write(home / "conf" / name, f"pem of {name}")
    file = write(home / "conf" / "f5.yml", F5.format(scheme="tls"))
    (made,) = plans.endpoints(load([file]).entries)
    assert made["agent_tls"] == {
        "cert": {"text": "pem of vault.crt", "file": str(home / "conf" / "vault.crt")},
        "key": {"text": "pem of vault.key", "file": str(home / "conf" / "vault.key")},
        "client_cas": [{"text": "pem of ca.pem", "file": str(home / "conf" / "ca.pem")}],
        "min_version": "",
        "max_version": "",
    }
    assert (made["proto"], made["url"], made["upstream"]) == ("tls", "tls://vault.edge.test", "localhost:9000")
    assert "TLSTermination" not in made["opts"], "the key stays here"

    # Files of the working directory come before those beside the configuration.
    write(home / "work" / "vault.crt", "pem of the working directory")
    monkeypatch.chdir(home / "work")
    (made,) = plans.endpoints(load([file]).entries)
    assert made["agent_tls"]["cert"]["text"] == "pem of the working directory"


def test_f5_tls_does_not_end_in_the_agent_for_https(home: Path) -> None:
    (problem,) = problems(home, F5.format(scheme="https"))
    assert problem.startswith("6:7 ")
    assert "agent_tls_termination is for tls:// URLs only" in problem


def test_f6_version_2_with_old_options(home: Path) -> None:
    file = str(write(home / "f6.yml", F6))
    config = load([Path(file)])
    endpoints = plans.endpoints(config.entries)
    assert shape(endpoints) == [
        ("site", "https://site.edge.test", "http://localhost:3000"),
        ("site (http)", "http://site.edge.test", "http://localhost:3000"),
        ("ssh", "tcp://tcp.edge.test:20022", "localhost:22"),
    ]
    credentials = {"credentials": [{"username": "ann", "cleartext_password": "longenough"}]}
    assert [one["opts"].get("BasicAuth") for one in endpoints] == [credentials, credentials, None]
    assert "region" not in config.agent
    assert config.notices == [
        "tunnels.site: domain, schemes are deprecated, use url instead",
        "tunnels.site: basic_auth is deprecated, keep it until your edge has traffic policies",
        "tunnels.ssh: remote_addr is deprecated, use url instead",
    ]
    (site, plain) = plan("start", "site", "--config", file, "--connect-url", "e.test")["endpoints"]
    assert (site["name"], plain["name"]) == ("site", "site (http)")


def test_f7_loads_though_it_cannot_be_started(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(write(home / "f7.yml", F7))
    assert run(capsys, "config", "check", "--config", file)[0] == 0
    assert plan("start", "--none", "--config", file)["endpoints"] == []
    code, _, err = run(capsys, "start", "odd", "--config", file)
    assert code == 1
    assert 'endpoint "odd": ' in err
    assert "basic_auth" in err


F8A = """\
version: 3
agent: {authtoken: one, web_addr: "127.0.0.1:5050", dns_resolver_ips: [1.1.1.1, 8.8.8.8]}
endpoints:
  - {name: x, url: "https://x.edge.test", upstream: {url: 1}}
  - {name: y, upstream: {url: 3}}
"""
F8B = """\
version: 3
agent: {authtoken: two, dns_resolver_ips: [9.9.9.9]}
endpoints:
  - {name: x, upstream: {url: 2}}
  - {name: z, upstream: {url: 4}}
"""


@pytest.mark.parametrize("spelling", ["repeated", "commas"])
def test_f8_files_are_merged_and_flags_and_variables_win(
    spelling: str, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = str(write(home / "a.yml", F8A)), str(write(home / "b.yml", F8B))
    config = load([Path(first), Path(second)])
    assert config.agent == {"authtoken": "two", "web_addr": "127.0.0.1:5050", "dns_resolver_ips": ["9.9.9.9"]}

    files = ["--config", first, "--config", second] if spelling == "repeated" else ["--config", f"{first},{second}"]
    argv = ["start", "--all", *files, "--connect-url", "edge.test"]
    made = plan(*argv)
    assert shape(made["endpoints"]) == [
        ("x", "https://", "http://localhost:2"),
        ("y", "https://", "http://localhost:3"),
        ("z", "https://", "http://localhost:4"),
    ]
    assert made["authtoken"] == "two"
    opened = [record["fields"]["path"] for record in made["records"] if record["msg"] == "open config file"]
    assert opened == [first, second]

    monkeypatch.setenv("NGROK_AUTHTOKEN", "three")
    assert plan(*argv)["authtoken"] == "three"
    assert plan(*argv, "--authtoken", "four")["authtoken"] == "four"


def test_f9_seven_errors_in_one_run(home: Path) -> None:
    allowed = "url, protocol, proxy_protocol, tls_verify, tls_verify_cas, file_listing"
    assert problems(
        home,
        """
        version: 3
        authtoken: t
        agent:
          log_levle: info
          heartbeat_interval: 10
        endpoints:
          - name: a
            url: https://a.edge.test
          - name: a
            upstream:
              port: 80
        """,
    ) == [
        "2:1 authtoken belongs under agent:, as agent.authtoken",
        "4:3 unknown key agent.log_levle (did you mean log_level?)",
        "5:23 agent.heartbeat_interval: '10' needs a unit, as in 10s (units: ns us ms s m h)",
        "7:5 missing endpoints[0].upstream",
        "9:5 endpoints[1].name: the name 'a' is taken (first on line 7)",
        "10:5 missing endpoints[1].upstream.url",
        f"11:7 unknown key endpoints[1].upstream.port (allowed here: {allowed})",
    ]


F10 = """\
# my agents
version: 3
agent:
    # old: abc
    authtoken: 'abc'   # lab
    #api_key: none
endpoints: []
"""


def test_f10_an_edit_changes_one_value_and_no_other_byte(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(home / "f10.yml", F10)
    assert run(capsys, "config", "add-authtoken", "new", "--config", str(file))[0] == 0
    assert file.read_text() == F10.replace("'abc'", "'new'")
    assert run(capsys, "config", "add-api-key", "K", "--config", str(file))[0] == 0
    assert file.read_text() == F10.replace("'abc'", "'new'").replace("agent:\n", "agent:\n    api_key: K\n")


F11 = """\
version: 2
region: eu
authtoken: t        # lab
server_addr: in.edge.test:443  # own edge
root_cas: ./edge-ca.pem
tunnels:
  old: {proto: http, addr: 8000, domain: old.edge.test}
  guard: {proto: http, addr: 8001, oauth: {provider: github}}
"""

F11_UPGRADED = """\
version: 3
agent:
  authtoken: t        # lab
  connect_url: in.edge.test:443  # own edge
  connect_cas: ./edge-ca.pem
endpoints:
  - name: old
    url: https://old.edge.test
    upstream:
      url: 8000
tunnels:
  # kept as a tunnel: oauth has no endpoint option
  guard: {proto: http, addr: 8001, oauth: {provider: github}}
"""


def test_f11_an_upgrade_keeps_what_has_no_equal(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(home / "f11.yml", F11)
    code, out, err = run(capsys, "config", "upgrade", "--config", str(file))
    assert (code, out) == (0, F11_UPGRADED)
    assert file.read_text() == F11_UPGRADED
    assert "region was removed: version 3 has none" in err


F12 = """\
authtoken: t
http_proxy: http://10.1.1.1:3128
update: false
compress_conn: true
tunnels:
  w: {proto: http, addr: 80, auth: "bo:secretsecret", bind_tls: both}
"""

F12_UPGRADED = """\
version: "2"
region: us
authtoken: t
proxy_url: http://10.1.1.1:3128
update_check: false
tunnels:
  w: {proto: http, addr: 80, basic_auth: ["bo:secretsecret"], schemes: [http, https]}
"""


def test_f12_version_1_becomes_version_2(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(home / "f12.yml", F12)
    code, out, err = run(capsys, "config", "upgrade", "2", "--config", str(file))
    assert (code, out) == (0, F12_UPGRADED)
    assert "secretsecret" not in err
    assert load([file]).agent["proxy_url"] == "http://10.1.1.1:3128"


def test_f12_version_1_is_to_be_upgraded(home: Path) -> None:
    told = problems(home, F12)
    assert told[0].startswith("1:1 `version` property is required")
    assert "portway config upgrade" in told[0]
    assert "secretsecret" not in "".join(told)


def test_f13_a_token_of_another_service_is_used_only_with_an_edge(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(home / ".config" / "ngrok" / "ngrok.yml", "version: 3\nagent: {authtoken: T}\n")
    alone = plan("http", "8080")
    assert (alone["edge"], alone["authtoken"]) == (None, "")
    warned = [line for line in capsys.readouterr().err.splitlines() if "authtoken" in line]
    assert warned == [
        f"Warning: the authtoken in {file} was not used: it belongs to another service, and no connect_url is set"
    ]
    messages = [record["msg"] for record in alone["records"]]
    assert "using ngrok configuration file" in messages

    monkeypatch.setenv("PORTWAY_CONNECT_URL", "edge.test:443")
    assert plan("http", "8080")["authtoken"] == "T"
    assert capsys.readouterr().err == ""
