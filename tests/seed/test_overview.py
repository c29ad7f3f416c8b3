"""The examples of the agent's overview, word for word, under the name `ngrok` and under our own."""

from __future__ import annotations

import json
import ssl
import subprocess
import textwrap
from base64 import b64encode
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest
import yaml

from harness import need
from harness.api import KEY, Api
from harness.local import local
from harness.place import LAN, SIX, Place
from harness.process import until


def host(url: str) -> str:
    return urlsplit(url).hostname or ""


def served(place: Place, url: str, here: str) -> None:
    """A visitor of `url` gets the answer of what listens on `here`."""
    answer = place.get(url, "/some/path")
    assert answer.status == 200, answer.text
    assert answer.json == {"here": here, "path": "/some/path"}


def tls(place: Place, *names: str) -> ssl.SSLContext:
    return place.authority.pair(*names).serving()


# === endpoints


def test_an_http_endpoint(place: Place) -> None:
    place.serves(8080)
    url = place.url("ngrok http 8080")
    assert url.startswith("https://")
    served(place, url, "127.0.0.1:8080")


def test_a_static_domain(place: Place) -> None:
    place.serves(80)
    url = place.url("ngrok http 80 --url example.ngrok.app")
    assert (urlsplit(url).scheme, host(url)) == ("https", "example.ngrok.app")
    served(place, url, "127.0.0.1:80")


def test_basic_auth(place: Place) -> None:
    place.serves(80)
    url = place.url('ngrok http 80 --basic-auth "username1:password1" --basic-auth "username2:password2"')
    for pair in ("username1:password1", "username2:password2"):
        assert place.get(url, Authorization=f"Basic {b64encode(pair.encode()).decode()}").status == 200
    for pair in ("username1:password2", "nobody:password1"):
        assert place.get(url, Authorization=f"Basic {b64encode(pair.encode()).decode()}").status == 401
    asked = place.get(url)
    assert asked.status == 401
    assert asked.headers["www-authenticate"].startswith("Basic ")
    assert "--basic-auth has been deprecated" in place.processes[-1].text("err")


def test_forwarding_to_a_service_that_is_not_on_localhost(place: Place) -> None:
    place.serves(80, LAN)
    served(place, place.url("ngrok http 192.168.1.2:80"), f"{LAN}:80")


def test_a_local_https_server(place: Place) -> None:
    place.serves(8443, tls=tls(place, "localhost"))
    assert place.urls("ngrok http https://localhost:8443").popitem()[1] == "https://localhost:8443"
    url = place.processes[-1].text("out").split()[1]
    served(place, url, "127.0.0.1:8443")


def test_forwarding_to_ipv6_addresses(place: Place) -> None:
    place.serves(80, "::1")
    url = place.url("ngrok http '[::1]:80' --url ipv6.example.com")
    assert host(url) == "ipv6.example.com"
    served(place, url, "::1:80")
    assert place.processes[-1].stop() == 0

    place.serves(8443, SIX, tls=tls(place, "service.test"))
    url = place.url("ngrok http 'https://[2001:db8::123.123.123.123]:8443' --url ipv6.example.com")
    assert host(url) == "ipv6.example.com"
    assert place.get(url).json["here"].endswith(":8443")


def test_a_tcp_endpoint(place: Place, echo: Callable[[int], None]) -> None:
    echo(22)
    (url, upstream) = place.urls("ngrok tcp 22").popitem()
    assert (urlsplit(url).scheme, upstream) == ("tcp", "localhost:22")
    with place.connect(urlsplit(url).port or 0) as io:
        io.sendall(b"SSH-2.0-hello\r\n")
        assert io.recv(1 << 16) == b"SSH-2.0-hello\r\n"


def test_a_tls_endpoint(place: Place, echo: Callable[[int], None]) -> None:
    """Any protocol wrapped in TLS is accepted."""
    echo(80)
    url = place.url("ngrok tls 80 --terminate-at edge --url your-name.ngrok.app")
    assert (urlsplit(url).scheme, host(url)) == ("tls", "your-name.ngrok.app")
    context = ssl.create_default_context(cafile=str(place.edge.ca))
    raw = place.connect(place.edge.https[1])
    with context.wrap_socket(raw, server_hostname="your-name.ngrok.app") as io:
        io.sendall(b"in any protocol")
        assert io.recv(1 << 16) == b"in any protocol"


def test_several_endpoints(place: Place) -> None:
    ports = {"foo": 8001, "bar": 8002, "baz": 8003, "other": 8004}
    for port in ports.values():
        place.serves(port)
    entries = [{"name": name, "upstream": {"url": str(port)}} for name, port in ports.items()]
    place.configure(f"endpoints: {json.dumps(entries)}\n")
    urls = place.urls("ngrok start foo bar baz", 3)
    assert sorted(urls.values()) == [f"http://localhost:{port}" for port in (8001, 8002, 8003)]
    for url, upstream in urls.items():
        served(place, url, f"127.0.0.1:{upstream.rsplit(':')[-1]}")


def test_all_endpoints_of_the_file(place: Place) -> None:
    """As a service starts them."""
    for port in (8001, 8002):
        place.serves(port)
    place.configure("endpoints: [{name: a, upstream: {url: 8001}}, {name: b, upstream: {url: 8002}}]\n")
    urls = place.urls("ngrok start --all", 2)
    for url, upstream in urls.items():
        served(place, url, f"127.0.0.1:{upstream.rsplit(':')[-1]}")


def test_it_comes_back_by_itself_under_the_same_url(place: Place) -> None:
    place.serves(8080)
    process = place.run("ngrok http 8080 --log stdout")
    url = process.wait_for("started tunnel")["url"]
    since = process.position
    place.edge.kill()
    process.wait_for("session closed, starting reconnect loop", since)
    place.edge.start()
    process.wait_for("tunnel session started", since)
    until("it serves", lambda: place.get(url).status == 200)


# === completion


def test_tab_completion(place: Place) -> None:
    place.configure("endpoints: [{name: foo, upstream: {url: 1}}, {name: fob, upstream: {url: 2}}]\n")
    script = f"""
        . <({place.command} completion)
        declare -F _{place.command} >/dev/null || exit 3
        complete() {{
            COMP_WORDS=("$@"); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); COMP_LINE="$*"; COMP_POINT=${{#COMP_LINE}}
            _{place.command}; printf '%s\\n' "${{COMPREPLY[@]}}"
        }}
        complete {place.command} st
        complete {place.command} start fo
        complete {place.command} http 80 --ur
    """
    done = subprocess.run(
        [need.program("bash", "bash"), "-c", textwrap.dedent(script)],
        env={**place.env, "SHELL": "/bin/bash"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    words = [word.strip() for word in done.stdout.split()]
    assert {"start", "foo", "fob", "--url"} <= set(words)


# === authtokens and their ACLs


def test_an_authtoken_is_added_to_the_file_and_used(place: Place) -> None:
    place.serves(8080)
    place.configure(token="")
    said = place.told(f"ngrok config add-authtoken {place.edge.token}")
    assert str(place.config) in said
    assert yaml.safe_load(place.config.read_text())["agent"]["authtoken"] == place.edge.token
    served(place, place.url("ngrok http 8080"), "127.0.0.1:8080")


ACLS = """\
tokens:
  - {name: none, token: token-without-rules}
  - {name: name, token: token-of-a-name, acl: ["bind:foo.ngrok.app"]}
  - {name: below, token: token-of-a-domain, acl: ["bind:*.example.com"]}
  - {name: label, token: token-of-a-label, acl: ["bind:foo=bar"]}
  - {name: labels, token: token-of-labels, acl: ["bind:app=*"]}
  - {name: all, token: token-of-all, acl: ["bind:*"]}
labels:
  - {match: {foo: bar}, url: "https://by-label.ngrok.app"}
  - {match: {app: x}, url: "https://by-x.ngrok.app"}
  - {match: {app: y}, url: "https://by-y.ngrok.app"}
"""
FOO, BELOW, OTHER = "http 80 --url foo.ngrok.app", "http 80 --url a.example.com", "http 80 --url other.ngrok.app"
LABEL, X, Y = "tunnel --label foo=bar 80", "tunnel --label app=x 80", "tunnel --label app=y 80"


@pytest.mark.parametrize(
    ("token", "may", "may_not"),
    [
        ("token-without-rules", [FOO, BELOW, LABEL], []),
        ("token-of-a-name", [FOO], [BELOW, OTHER, LABEL]),
        ("token-of-a-domain", [BELOW], [FOO, LABEL]),
        ("token-of-a-label", [LABEL], [FOO, X]),
        ("token-of-labels", [X, Y], [FOO, LABEL]),
        ("token-of-all", [FOO, BELOW], []),
    ],
)
def test_acls_restrict_what_an_agent_may_bind(
    token: str, may: list[str], may_not: list[str], places: Callable[..., Place]
) -> None:
    place = places("ngrok", ACLS)
    place.configure(token=token)
    for line in may:
        process = place.run(f"ngrok {line} --log stdout")
        process.wait_for("started tunnel")
        assert process.stop() == 0
    for line in may_not:
        process = place.run(f"ngrok {line}")
        assert process.wait() == 1, process.shown()
        assert "ERR_NGROK_" in process.text("err")


# === keys and variables


def test_an_api_key_is_added_to_the_file(place: Place) -> None:
    place.told("ngrok config add-api-key some-key")
    assert yaml.safe_load(place.config.read_text())["agent"]["api_key"] == "some-key"


@pytest.fixture
def api(place: Place) -> Iterator[Api]:
    """A server of the API, which the file names."""
    api = place.network.run(Api)
    config = yaml.safe_load(place.config.read_text())
    config["agent"]["api_url"] = f"http://127.0.0.1:{api.port}"
    place.config.write_text(yaml.safe_dump(config))
    yield api
    api.stop()


def test_domains_and_online_endpoints_are_queried_with_that_key(place: Place, api: Api) -> None:
    place.told(f"ngrok config add-api-key {KEY}")
    assert json.loads(place.told("ngrok api endpoints list"))["endpoints"]
    assert json.loads(place.told("ngrok api reserved-domains list"))["reserved_domains"]
    assert [(seen.method, seen.target) for seen in api.seen] == [("GET", "/endpoints"), ("GET", "/reserved_domains")]
    assert api.problems == []


def test_the_key_of_a_variable_wins_over_that_of_the_file(place: Place, api: Api) -> None:
    place.told("ngrok config add-api-key of-nobody")
    assert place.run("ngrok api endpoints list").wait() == 1
    place.told("ngrok api endpoints list", NGROK_API_KEY=KEY)


def test_variables_win_over_the_file(place: Place) -> None:
    place.serves(8080)
    place.configure(token="of-nobody")
    refused = place.run("ngrok http 8080")
    assert refused.wait() == 1
    assert "ERR_NGROK_107" in refused.text("err")
    served(place, place.url("ngrok http 8080", NGROK_AUTHTOKEN=place.edge.token), "127.0.0.1:8080")


# === settings that the overview names


SETTINGS = """\
crl_noverify: true
update_check: false
update_channel: beta
heartbeat_interval: 11s
heartbeat_tolerance: 16s
remote_management: false
inspect_db_size: -1
"""


def test_settings_of_the_overview_are_known_and_an_agent_runs_with_them(place: Place) -> None:
    place.serves(8080)
    config = yaml.safe_load(place.config.read_text())
    config["agent"] |= yaml.safe_load(SETTINGS)
    place.config.write_text(yaml.safe_dump(config))
    assert "Valid configuration file" in place.told("ngrok config check")
    served(place, place.url("ngrok http 8080"), "127.0.0.1:8080")


def test_its_own_api_starts_and_stops_endpoints(place: Place) -> None:
    place.serves(8080)
    process = place.run("ngrok start --none --log stdout")
    process.wait_for("tunnel session started")
    api = place.network.run(lambda: local(process))
    made = place.network.run(lambda: api.post("/api/tunnels", {"name": "a", "proto": "http", "addr": "8080"}))
    served(place, made["public_url"], "127.0.0.1:8080")
    place.network.run(lambda: api.delete("/api/tunnels/a"))
    assert place.get(made["public_url"]).status == 404


def test_it_is_one_process_that_a_signal_ends(place: Place) -> None:
    place.serves(8080)
    place.url("ngrok http 8080")
    process = place.processes[-1]
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout
    assert children == ""
    assert process.stop() == 0
