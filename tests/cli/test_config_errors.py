"""What is said about a configuration file that cannot stand (config.md §6): place, key, and what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.command import plan, run
from cli.config_files import problems, write
from portway.config.errors import SHOWN
from portway.config.load import load

V3 = "version: 3\n"
ONE = "version: 3\nendpoints:\n  - name: a\n"
TUNNEL = "version: 2\ntunnels:\n  t:\n    proto: http\n    addr: 80\n"
NO_TOKEN = "YAML parsing error: found character that cannot start any token"
URL = 'endpoints[0] "a": upstream.url:'
NO_USER = "this URL holds a user or a password, which nobody asks for here: leave out all up to the @"
TWO = "expected a single document in the stream, but found another document"
UNTIL = "belongs under tunnels: until your edge has traffic policies"
HAS = "an upstream of this endpoint has"
UNITS = "(units: ns us ms s m h)"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        # the file as a whole
        ("", "1:1 `version` property is required: add `version: 3`, or run `portway config upgrade`"),
        ("# nothing\n", "1:1 `version` property is required: add `version: 3`, or run `portway config upgrade`"),
        ("agent: {}\n", "1:1 `version` property is required: add `version: 3`, or run `portway config upgrade`"),
        ("version: 4\n", "1:10 unknown version '4'. valid versions are: [2 3]"),
        ("version: 1\n", "1:10 unknown version '1'. valid versions are: [2 3] (run `portway config upgrade`)"),
        ("version: [3]\n", "1:10 unknown version ''. valid versions are: [2 3]"),
        ("- version: 3\n", "1:1 expected keys and values, found a list"),
        ("just a text\n", "1:1 expected keys and values, found 'just a text'"),
        ("version: 3\nagent:\n\tlog: stdout\n", "3:1 line 3 starts with a tab; YAML needs blanks"),
        (
            "version: 3\nagent: {log: stdout\n",
            "3:1 YAML parsing error: did not find expected ',' or '}'",
        ),
        ("version: 3\nagent: @x\n", f"2:8 {NO_TOKEN}\n    agent: @x\n           ^"),
        ("version: 3\n---\nversion: 3\n", f"2:1 YAML parsing error: {TWO}\n    ---\n    ^"),
        ("version: 3\nagent: {log: stdout}\nagent: {}\n", "3:1 agent is given twice (first on line 2)"),
        ("version: 3\n? [a]\n: b\n", "2:3 the file: a key must be a text"),
        # keys in the wrong place, or misspelt
        (V3 + "server_addr: e:443\n", "2:1 server_addr belongs under agent:, as agent.connect_url"),
        (V3 + "web_addr: false\n", "2:1 web_addr belongs under agent:, as agent.web_addr"),
        (V3 + "region: us\n", "2:1 region was removed in version 3"),
        (V3 + "agent:\n  region: us\n", "3:3 agent.region was removed in version 3"),
        (V3 + "agent:\n  root_cas: host\n", "3:3 agent.root_cas is called connect_cas in version 3"),
        (V3 + "examples: []\n", "2:1 unknown key examples (allowed here: version, agent, endpoints, tunnels)"),
        (V3 + "endpoint: []\n", "2:1 unknown key endpoint (did you mean endpoints?)"),
        (V3 + "agent:\n  log-level: info\n", "3:3 unknown key agent.log-level (did you mean log_level?)"),
        (V3 + "agent:\n  zzzzzz: 1\n", "3:3 unknown key agent.zzzzzz"),
        (ONE + "    upstream: {url: 80, protocl: http1}\n",
         "4:25 unknown key endpoints[0].upstream.protocl (did you mean protocol?)"),
        (ONE + "    upstream: {url: 80}\n    host_header: x\n",
         "5:5 endpoints[0].host_header belongs under tunnels: until your edge has traffic policies"),
        (ONE + "    upstream: {url: 80}\n    domain: x\n", "5:5 endpoints[0].domain is written as url in an endpoint"),
        (ONE + "    upstream: {url: 80}\n    proto: http\n",
         "5:5 endpoints[0].proto is written as the scheme of url in an endpoint"),
        (ONE + "    upstream: {url: 80}\n    traffic-policy: {}\n",
         "5:5 unknown key endpoints[0].traffic-policy (did you mean traffic_policy?)"),
        (ONE + "    upstream: {url: 80}\n    binding: internal\n", "5:5 endpoints[0].binding is a list: bindings: [X]"),
        (ONE + "    upstream: {url: 80}\n    policy_file: x\n",
         "5:5 endpoints[0].policy_file is written as traffic_policy_file in an endpoint"),
        (ONE + "    upstream: {url: 80}\n    crt: x\n",
         "5:5 endpoints[0].crt is written as agent_tls_termination.server_certificate in an endpoint"),
        (ONE + "    upstream: {url: 80}\n    oauth: {}\n",
         "5:5 endpoints[0].oauth belongs under tunnels: until your edge has traffic policies"),
        (ONE + "    upstream: {url: 80}\n    host-header: x\n",
         f"5:5 endpoints[0].host-header, that is host_header, {UNTIL}"),
        (V3 + "--log: stdout\n", "2:1 --log belongs under agent:, as agent.log"),
        (V3 + "web-addr: x\n", "2:1 web-addr belongs under agent:, as agent.web_addr"),
        (V3 + "agent:\n  server-addr: e:1\n",
         "3:3 agent.server-addr, that is server_addr, is called connect_url in version 3"),
        ("version: 2\nconnect-url: e:443\n",
         "2:1 connect-url, that is connect_url, is called server_addr in version 2"),
        (V3 + "agent:\n  --log: stdout\n", "3:3 unknown key agent.--log (did you mean log?)"),
        (V3 + "agent:\n  Log_Level: info\n", "3:3 unknown key agent.Log_Level (did you mean log_level?)"),
        (V3 + "agent:\n  server_addr: e:1\n", "3:3 agent.server_addr is called connect_url in version 3"),
        ("version: 2\nagent: {}\n", "2:1 agent needs `version: 3`"),
        ("version: 2\nendpoints: []\n", "2:1 endpoints needs `version: 3`"),
        ("version: 2\nconnect_url: e:443\n", "2:1 connect_url is called server_addr in version 2"),
        ("version: 2\nconnect_cas: host\n", "2:1 connect_cas is called root_cas in version 2"),
        ("version: 2\nauth_token: x\n", "2:1 unknown key auth_token (did you mean authtoken?)"),
        (TUNNEL + "    host-header: x\n", "6:5 unknown key tunnels.t.host-header (did you mean host_header?)"),
        (TUNNEL + "    bind_tls: both\n", "6:5 tunnels.t.bind_tls is of version 1: use schemes"),
        (TUNNEL + "    auth: x\n", "6:5 tunnels.t.auth is of version 1: use basic_auth"),
        (TUNNEL + "    bind-tls: both\n", "6:5 tunnels.t.bind-tls, that is bind_tls, is of version 1: use schemes"),
        (TUNNEL + "    upstream_ca_path: x\n", "6:5 tunnels.t.upstream_ca_path is called upstream_tls_verify_cas"),
        # what is missing
        (V3 + "endpoints:\n  - upstream: {url: 80}\n", "3:5 missing endpoints[0].name"),
        (ONE, "3:5 missing endpoints[0].upstream"),
        (ONE + "    upstream: {}\n", "4:5 missing endpoints[0].upstream.url"),
        (ONE + "    upstream: {url: ''}\n", "4:5 missing endpoints[0].upstream.url"),
        ("version: 2\ntunnels:\n  t: {proto: tcp}\n", "3:3 missing tunnels.t.addr"),
        ("version: 2\ntunnels:\n  t: {proto: tcp, addr: ''}\n", "3:3 missing tunnels.t.addr"),
        ("version: 2\ntunnels:\n  t: {addr: 80}\n", "3:3 missing tunnels.t.proto: the protocol name, http, tcp or tls"),
        # wrong types
        (V3 + "agent: x\n", "2:8 agent: expected a map, found 'x'"),
        (V3 + "endpoints: {}\n", "2:12 endpoints: expected a list of `- name: …`, found a map"),
        (V3 + "endpoints: [x]\n", "2:13 endpoints[0]: expected a map, found 'x'"),
        (V3 + "tunnels: []\n", "2:10 tunnels: expected a map of names, found a list"),
        (V3 + "agent:\n  metadata: {a: b}\n",
         "3:13 agent.metadata: expected a text, found a map; put the text in quotes"),
        (V3 + "agent:\n  log_level: [info]\n", "3:14 agent.log_level: expected a text, found a list"),
        (ONE + "    upstream: {url: 80}\n    traffic_policy: x\n",
         "5:21 endpoints[0].traffic_policy: expected a map, found 'x'"),
        (ONE + "    upstream: {url: 80}\n    traffic_policy: {a: 1, b: [{c: 1, c: 2}]}\n",
         "5:39 endpoints[0].traffic_policy.b[0].c is given twice (first on line 5)"),
        # wrong values
        (V3 + "agent:\n  crl_noverify: maybe\n", "3:17 agent.crl_noverify: expected true or false, found 'maybe'"),
        (V3 + "agent:\n  connect_timeout: 5\n", f"3:20 agent.connect_timeout: '5' needs a unit, as in 5s {UNITS}"),
        (V3 + "agent:\n  connect_timeout: -5s\n", "3:20 agent.connect_timeout: '-5s' is negative"),
        (V3 + "agent:\n  connect_timeout: 1 day\n",
         f"3:20 agent.connect_timeout: '1 day' is no duration such as 10s or 1m30s {UNITS}"),
        (V3 + "agent:\n  log_level: loud\n",
         "3:14 agent.log_level: 'loud' is not one of crit, warn, error, eror, info, debug"),
        (V3 + "agent:\n  console_ui: yes\n", "3:15 agent.console_ui: 'yes' is not one of true, false, iftty"),
        (V3 + "agent:\n  inspect_db_size: lots\n",
         "3:20 agent.inspect_db_size: expected a whole number, found 'lots'"),
        (V3 + "agent:\n  inspect_db_size: 9223372036854775808\n",
         "3:20 agent.inspect_db_size: 9223372036854775808 is too large"),
        (V3 + "agent:\n  dns_resolver_ips: [1.1.1.1, dns.test]\n",
         "3:31 agent.dns_resolver_ips: 'dns.test' is no IP address"),
        (V3 + "agent:\n  connect_url: e:0\n", "3:16 agent.connect_url: 'e:0' is no address such as example.com:443"),
        (V3 + "agent:\n  connect_url: '::1:443'\n",
         "3:16 agent.connect_url: '::1:443': write an IPv6 address in brackets, [::1]:443"),
        (V3 + "agent:\n  proxy_url: proxy:80\n",
         "3:14 agent.proxy_url: expected a URL with http://, https:// or socks5:// in front"),
        (V3 + "agent:\n  crl_url: http://ann:word@x.test/ca.crl\n", f"3:12 agent.crl_url: {NO_USER}"),
        (V3 + "agent:\n  dns_fallback_url: https://word@x.test\n", f"3:21 agent.dns_fallback_url: {NO_USER}"),
        (V3 + f"agent:\n  metadata: {'m' * 4097}\n", "3:13 agent.metadata: longer than 4096 bytes"),
        (V3 + 'endpoints:\n  - name: "a\\tb"\n    upstream: {url: 80}\n',
         "3:11 endpoints[0].name: a name must not be empty, nor hold control characters"),
        # addresses
        (ONE + "    upstream:\n      url: 70000\n",
         "5:12 endpoints[0] \"a\": upstream.url: '70000': port 70000 is not in 1-65535"),
        (ONE + "    upstream: {url: tcp://localhost:22}\n",
         f"4:21 {URL} 'tcp://localhost:22': {HAS} http://, https:// or no scheme (set url to tcp://)"),
        (ONE + "    url: tls://a.test\n    upstream: {url: http://localhost}\n",
         f"5:21 {URL} 'http://localhost': {HAS} tcp://, tls:// or no scheme"),
        (ONE + "    url: ftp://x\n    upstream: {url: 80}\n",
         "4:10 endpoints[0] \"a\": url: 'ftp://x': the scheme must be http, https, tcp or tls"),
        (ONE + "    url: https://x:99999\n    upstream: {url: 80}\n",
         "4:10 endpoints[0] \"a\": url: 'https://x:99999': port 99999 is not in 1-65535"),
        (ONE + "    url: https://x/path\n    upstream: {url: 80}\n",
         "4:10 endpoints[0] \"a\": url: 'https://x/path': only scheme, host and port may be given"),
        (ONE + "    url: [https://x, https://y]\n    upstream: {url: 80}\n",
         '4:10 endpoints[0] "a": url: one URL, not 2'),
        (ONE + "    upstream: {url: 'file:folder'}\n",
         "4:21 endpoints[0] \"a\": upstream.url: 'file:folder': the path of a folder must be absolute, file:///path"),
        (TUNNEL + "    url: tcp://x:1\n", "6:10 tunnels.t.url: an endpoint of protocol http cannot have 'tcp://x:1'"),
        ("version: 2\ntunnels:\n  t:\n    proto: ftp\n    addr: 80\n",
         "4:12 tunnels.t.proto: unknown protocol name 'ftp', use http, tcp or tls"),
        ("version: 2\ntunnels:\n  t: {proto: tcp, addr: localhost}\n",
         "3:25 tunnels.t.addr: 'localhost' has no port: write host:port"),
        # combinations
        (ONE + "    upstream: {url: 80}\n    traffic_policy: {}\n    traffic_policy_url: https://x\n",
         "6:25 endpoints[0] \"a\": traffic_policy_url: traffic_policy and traffic_policy_url exclude each other"),
        (ONE + "    upstream: {url: 80}\n    bindings: [public, internal]\n",
         '5:15 endpoints[0] "a": bindings: one binding, not several'),
        (TUNNEL + "    remote_addr: x:1\n",
         "6:18 tunnels.t.remote_addr makes no sense on an endpoint of protocol http"),
        ("version: 2\ntunnels:\n  t: {proto: tcp, addr: 80, basic_auth: ['a:b']}\n",
         "3:41 tunnels.t.basic_auth makes no sense on an endpoint of protocol tcp"),
        ("version: 2\ntunnels:\n  t: {proto: tls, addr: 80, crt: x}\n", "3:34 tunnels.t: crt needs key"),
        (ONE + "    url: tls://a\n    upstream: {url: 80}\n    agent_tls_termination: {server_private_key: k}\n",
         '6:49 endpoints[0] "a": agent_tls_termination.server_private_key needs server_certificate'),
        ("version: 2\ntunnels:\n  a: {proto: tcp, addr: 1}\n  b: {proto: tcp, addr: 2, name: a}\n",
         "4:3 'a' is the name of two tunnels (first on line 3)"),
        (TUNNEL + "    subdomain: a_b\n",
         "6:16 tunnels.t.subdomain: 'a_b': a subdomain has letters, digits, - and . only"),
        (TUNNEL + "    domain: x\n    subdomain: y\n", "7:16 tunnels.t: domain and subdomain exclude each other"),
        (V3 + "endpoints:\n  - {name: a, upstream: {url: 1}}\ntunnels:\n  a: {proto: http, addr: 80}\n",
         "5:3 'a' is the name of an endpoint and of a tunnel (first on line 3)"),
    ],
)  # fmt: skip
def test_a_problem_is_told_with_its_place_and_what_to_do(text: str, told: str, home: Path) -> None:
    assert problems(home, text) == [told]


def test_an_error_looks_like_this(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(home / "c.yml", "version: 3\nagent:\n  hearbeat_interval: 5s\n  log_level: loud\n")
    code, out, err = run(capsys, "http", "80", "--config", str(file))
    assert (code, out) == (1, "")
    assert err.splitlines() == [
        f"ERROR:  Error reading configuration file '{file}': 2 problems",
        "ERROR:  ",
        "ERROR:    line 3, column 3: unknown key agent.hearbeat_interval (did you mean heartbeat_interval?)",
        ("ERROR:    line 4, column 14: agent.log_level: 'loud' is not one of crit, warn, error, eror, info, debug"),
    ]


def test_the_problems_of_several_files_name_their_file(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = write(home / "a.yml", "version: 3\nbogus: 1\nagain: 2\n")
    second = write(home / "b.yml", "version: 5\n")
    _, _, err = run(capsys, "start", "--none", "--config", f"{first},{second}")
    assert [line for line in err.splitlines() if "Error reading" in line] == [
        f"ERROR:  Error reading configuration file '{first}': 2 problems",
        f"ERROR:  Error reading configuration file '{second}': 1 problem",
    ]


def test_a_name_that_two_files_give_is_told_with_both(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = write(home / "a.yml", "version: 3\nendpoints:\n  - {name: x, upstream: {url: 1}}\n")
    second = write(home / "b.yml", "version: 2\ntunnels:\n  x: {proto: http, addr: 80}\n")
    _, _, err = run(capsys, "config", "check", "--config", f"{first},{second}")
    assert f"'{second}': 1 problem" in err
    assert f"line 3, column 3: 'x' is the name of an endpoint and of a tunnel (first on line 3 of {first})" in err


def test_labels_in_version_3_are_told_and_cannot_be_started(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(home / "c.yml", "version: 3\ntunnels:\n  x: {labels: [edge=e], addr: 80}\n")
    code, _, err = run(capsys, "config", "check", "--config", str(file))
    assert code == 0
    assert "tunnels.x: labels are not supported in version 3: give it a url instead" in err
    code, _, err = run(capsys, "start", "x", "--config", str(file))
    assert code == 1
    assert "(ERR_NGROK_358)" in err


def test_what_a_later_file_replaces_is_noted(home: Path) -> None:
    first = write(home / "a.yml", "version: 3\nendpoints:\n  - {name: x, upstream: {url: 1}}\n")
    second = write(home / "b.yml", "version: 3\nendpoints:\n  - {name: x, upstream: {url: 2}}\n")
    records = plan("start", "x", "--config", f"{first},{second}")["records"]
    told = f"the endpoint x of {second} replaces that of {first}"
    assert {"lvl": "debug", "msg": told, "fields": {}} in records


def test_no_more_problems_are_told_than_anyone_reads(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(home / "c.yml", V3 + "".join(f"bogus{n}: 1\n" for n in range(SHOWN + 5)))
    _, _, err = run(capsys, "config", "check", "--config", str(file))
    assert f": {SHOWN + 5} problems" in err
    assert err.splitlines()[-1] == "ERROR:    … and 5 more"
    assert len(err.splitlines()) == SHOWN + 3


def test_that_there_is_no_file_is_told_people_and_programs(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "config", "check")
    file = err.split("'")[1]
    told = f"Error reading configuration file '{file}': open {file}: no such file or directory"
    assert (code, out, err) == (1, "", f"ERROR:  {told}\n")
    code, out, err = run(capsys, "config", "check", "--log-format", "json")
    assert (code, err, json.loads(out)["msg"]) == (1, "", told)


def test_for_programs_there_is_a_record_for_each_problem(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(home / "c.yml", "version: 3\nagent:\n  log_levle: info\n  metadata: [x]\n")
    code, out, err = run(capsys, "config", "check", "--log-format", "json", "--config", str(file))
    assert (code, err) == (1, "")
    place = {"file": str(file), "lvl": "eror"}
    assert [json.loads(line) for line in out.splitlines()] == [
        place
        | {
            "line": 3,
            "column": 3,
            "path": "agent.log_levle",
            "msg": "unknown key agent.log_levle (did you mean log_level?)",
        },
        place
        | {
            "line": 4,
            "column": 13,
            "path": "agent.metadata",
            "msg": "agent.metadata: expected a text, found a list",
        },
    ]


# === files that cannot be read


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "no such file or directory"),
        (lambda path: path.mkdir(), "is a directory"),
        (lambda path: path.write_bytes(b"version: 3\n\xff\xfe\n"), "the file is not UTF-8 text (byte 11)"),
        (lambda path: path.write_text("version: 3\n#\x00\n"), "control characters are not allowed"),
        (lambda path: path.write_text("#" * ((1 << 20) + 1)), "the file is larger than 1 MiB"),
        (lambda path: path.symlink_to("/dev/zero"), "the file is larger than 1 MiB"),
        (lambda path: path.write_text("version: 3\nagent: " + "[" * 5000), "YAML parsing error"),
        (lambda path: path.write_text("version: 3\nagent: &a\n  b: *a\n"), "the file has more than 10000 values"),
        (
            lambda path: path.write_text(
                "version: 3\na: &a [x,x,x,x,x,x,x,x,x,x]\n"
                + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in ("ab", "bc", "cd", "de", "ef"))
            ),
            "the file has more than 10000 values",
        ),
    ],
    ids=["missing", "folder", "latin", "nul", "large", "device", "deep", "endless", "laughs"],
)
@pytest.mark.parametrize("command", [["config", "check"], ["start", "--none"], ["http", "80"]], ids=" ".join)
def test_a_file_that_cannot_be_read_is_an_error_of_one_paragraph(
    command: list[str], make: object, reason: str, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = home / "c.yml"
    make(file)  # type: ignore[operator]
    code, out, err = run(capsys, *command, "--config", str(file))
    assert (code, out) == (1, "")
    assert err.startswith(f"ERROR:  Error reading configuration file '{file}': ")
    assert reason in err
    assert len(err) < 1000


def test_check_without_any_file_names_where_it_would_be(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = home / ".config" / "portway" / "portway.yml"
    told = f"ERROR:  Error reading configuration file '{path}': open {path}: no such file or directory\n"
    assert run(capsys, "config", "check") == (1, "", told)


# === secrets


@pytest.mark.parametrize(
    "text",
    [
        "version: 3\nagent:\n  authtoken: 's3cr3t\n",
        "version: 3\nagent:\n  authtoken: s3cr3t: x\n",
        "version: 3\nagent: {authtoken: s3cr3t, api_key: s3cr3t, log: {}}\n",
        "version: 3\nagent:\n  authtoken: [s3cr3t]\n",
        "version: 3\nauthtoken: s3cr3t\n",
        "version: 2\nauthtoken: s3cr3t\nagent: {}\n",
        "version: 3\nagent:\n  proxy_url: socks9://me:s3cr3t@proxy\n",
        "version: 2\ntunnels:\n  t:\n    proto: http\n    addr: 80\n    basic_auth:\n      - ann:s3cr3t: @\n",
        "version: 2\ntunnels:\n  t: {proto: http, addr: 80, basic_auth: ['ann:s3cr3t'], x: 1}\n",
        "version: 2\ntunnels:\n  t: {proto: http, addr: 80, basic_auth: ['ann:s3cr3t']}\n",
        "version: 2\ntunnels:\n  t: {proto: http, addr: 80, request_header: {add: ['authorization s3cr3t']}}\n",
        "version: 2\ntunnels:\n  t: {proto: http, addr: 80, verify_webhook: {secret: s3cr3t}}\n",
    ],
)
def test_no_error_repeats_a_secret(text: str, home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write(home / "c.yml", text)
    code, out, err = run(capsys, "start", "--all", "--config", str(file), "--connect-url", "e.test")
    assert code == 1
    assert "s3cr3t" not in out + err


def test_a_password_is_not_repeated_where_its_length_is_wrong(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, _, err = run(capsys, "http", "80", "--basic-auth", "ann:s3cr3t")
    assert "the password of 'ann' must have 8 to 128 characters" in err
    assert "s3cr3t" not in err


def test_a_broken_file_does_not_stop_what_needs_none(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(write(home / "c.yml", "version: {\n"))
    for words in (["version"], ["help"], ["help", "http"], ["completion", "bash"]):
        assert run(capsys, *words, "--config", file)[0] == 0, words


def test_what_is_only_wrong_when_started_is_no_error_before(home: Path) -> None:
    text = TUNNEL + "    ip_restriction: {allow_cidrs: [x]}\n    mutual_tls_cas: /nowhere\n"
    assert load([write(home / "c.yml", text)]).entries[0].name == "t"
