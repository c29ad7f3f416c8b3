"""The way to the API: certificates, proxies, time; and how each of them fails, in one line."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from api.told import Run, Told
from harness import ports
from harness.api import KEY, Api
from harness.proxies import EDGE, Answering, Tinyproxy
from harness.tls import Authority
from harness.upstreams import Loop
from portway.api import client

Ask = Callable[..., Told]


@pytest.fixture
def ask(program: Run) -> Ask:
    """Lists endpoints of a server, as a process."""

    def run(url: str, *flags: str, **env: str) -> Told:
        return program("api", "endpoints", "list", "--api-key", KEY, "--api-url", url, *flags, env=env)

    return run


# === certificates


def test_a_certificate_of_a_known_ca_is_trusted(secure: Api, authority: Authority, ask: Ask) -> None:
    told = ask(secure.url, SSL_CERT_FILE=str(authority.pem))
    assert (told.code, told.err) == (0, "200 OK\n")
    assert secure.last.headers["authorization"] == f"Bearer {KEY}"


def test_a_certificate_of_nobody_is_not_trusted_and_gets_no_key(secure: Api, ask: Ask) -> None:
    told = ask(secure.url)
    assert (told.code, told.out) == (1, "")
    assert len(told.errors) == 1
    assert told.errors[0].startswith(f"The certificate of {secure.url} cannot be trusted: ")
    assert "SSL_CERT_FILE" in told.errors[0]
    assert secure.seen == []


def test_a_certificate_of_another_name_is_not_trusted(authority: Authority, ask: Ask) -> None:
    server = Api(authority.pair("another.test").serving())
    told = ask(server.url, SSL_CERT_FILE=str(authority.pem))
    server.stop()
    assert told.code == 1
    assert "cannot be trusted" in told.errors[0]
    assert server.seen == []


def test_a_certificate_that_has_expired_is_not_trusted(authority: Authority, ask: Ask) -> None:
    server = Api(authority.expired("localhost").serving())
    told = ask(server.url, SSL_CERT_FILE=str(authority.pem))
    server.stop()
    assert "certificate has expired" in told.errors[0]


def test_a_server_that_speaks_no_tls_is_told(api: Api, ask: Ask) -> None:
    told = ask(f"https://localhost:{api.port}")
    assert told.code == 1
    assert told.errors[0].startswith(f"There is no TLS connection to https://localhost:{api.port}: ")


# === no connection


def test_nobody_listens_there(ask: Ask) -> None:
    url = f"http://127.0.0.1:{ports.unused()}"
    told = ask(url)
    assert (told.code, told.out, told.errors) == (1, "", [f"Cannot reach {url}: Connection refused."])


def test_there_is_no_such_name(ask: Ask) -> None:
    told = ask("https://no-such-name.invalid")
    assert told.code == 1
    assert told.errors[0].startswith("Cannot reach https://no-such-name.invalid: there is no such name (")


@pytest.fixture
def mute() -> Iterator[int]:
    """A port where somebody listens, and says nothing."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize(
    ("url", "argv"),
    [
        ("http://127.0.0.1:{}", ("endpoints", "list")),
        ("https://127.0.0.1:{}", ("endpoints", "list")),
        ("http://127.0.0.1:{}", ("vaults", "create", "--name", "n")),
    ],
    ids=("http", "tls", "a change"),
)
def test_a_server_that_says_nothing_is_not_waited_for(
    url: str, argv: tuple[str, ...], mute: int, call: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "TIMEOUT", 0.2)
    told = call(*argv, url=url.format(mute))
    assert told.code == 1
    lost = " Whether it was done is not known." if "create" in argv else ""
    assert told.errors == [f"{url.format(mute)} did not answer within 0.2 s.{lost}"]


def test_an_answer_that_does_not_end_is_not_waited_for(api: Api, call: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "LONGEST", -1)
    told = call("endpoints", "list")
    assert (told.code, told.out, told.errors) == (1, "", ["The answer did not end within -1 s."])


# === proxies


@pytest.fixture
def far(authority: Authority) -> Iterator[Api]:
    """A server under a name that proxies alone know."""
    api = Api(authority.pair(EDGE).serving())
    api.url = f"https://{EDGE}:{api.port}"
    yield api
    api.stop()


@pytest.fixture
def tinyproxy(tmp_path: Path) -> Iterator[Tinyproxy]:
    proxy = Tinyproxy(tmp_path)
    yield proxy
    proxy.stop()


def trusting(authority: Authority, **more: str) -> Mapping[str, str]:
    return {"SSL_CERT_FILE": str(authority.pem), **more}


@pytest.mark.parametrize("variable", ["https_proxy", "HTTPS_PROXY"])
def test_a_proxy_of_the_environment_is_used(
    variable: str, far: Api, tinyproxy: Tinyproxy, authority: Authority, ask: Ask
) -> None:
    told = ask(far.url, **trusting(authority, **{variable: tinyproxy.url}))
    assert (told.code, told.err) == (0, "200 OK\n")
    assert "proxy-authorization" not in far.last.headers


def test_the_proxy_of_the_file_is_used(
    far: Api, tinyproxy: Tinyproxy, authority: Authority, ask: Ask, tmp_path: Path
) -> None:
    tinyproxy.restart(locked=True)
    file = tmp_path / "f.yml"
    file.write_text(f"version: 3\nagent: {{proxy_url: '{tinyproxy.url_with()}'}}\n")
    told = ask(far.url, "--config", str(file), **trusting(authority, https_proxy="http://127.0.0.1:1"))
    assert (told.code, told.err) == (0, "200 OK\n")


def test_a_proxy_that_refuses_is_told_without_its_password(
    far: Api, tinyproxy: Tinyproxy, authority: Authority, ask: Ask
) -> None:
    tinyproxy.restart(locked=True)
    told = ask(far.url, **trusting(authority, https_proxy=tinyproxy.url_with("x")))
    assert told.code == 1
    assert told.errors[0].startswith(f"Cannot reach {far.url} through the proxy {tinyproxy.address}: ")
    assert "40" in told.errors[0]
    assert tinyproxy.password not in told.err
    assert "p%5Fss" not in told.err


def test_a_proxy_that_is_not_there_is_told(far: Api, ask: Ask) -> None:
    port = ports.unused()
    told = ask(far.url, https_proxy=f"http://127.0.0.1:{port}")
    assert told.errors == [f"Cannot reach {far.url} through the proxy 127.0.0.1:{port}: Connection refused."]


def test_hosts_of_no_proxy_are_reached_without_one(secure: Api, authority: Authority, ask: Ask) -> None:
    told = ask(secure.url, **trusting(authority, https_proxy="http://127.0.0.1:1", no_proxy="localhost"))
    assert told.code == 0
    told = ask(secure.url, **trusting(authority, https_proxy="socks5://127.0.0.1:1", NO_PROXY="localhost"))
    assert told.code == 0


def test_a_key_in_the_clear_goes_through_no_proxy(api: Api, ask: Ask) -> None:
    for kind in ("http", "socks5"):
        told = ask(api.url, http_proxy=f"{kind}://127.0.0.1:1", https_proxy=f"{kind}://127.0.0.1:1")
        assert told.code == 0, told.err


@pytest.mark.parametrize("kind", ["socks5", "https"])
def test_a_proxy_of_another_kind_is_told(kind: str, far: Api, ask: Ask) -> None:
    told = ask(far.url, https_proxy=f"{kind}://user:hunter2@127.0.0.1:1")
    assert told.errors == [f"{far.url} cannot be reached through a proxy of the kind {kind}: name one of http://."]


def test_a_proxy_sees_neither_key_nor_path(authority: Authority, ask: Ask) -> None:
    loop = Loop()
    proxy = Answering(loop, b"HTTP/1.1 200 OK\r\n\r\n")
    ask(f"https://{EDGE}:1", **trusting(authority, https_proxy=f"http://127.0.0.1:{proxy.port}"))
    (asked,) = proxy.asked
    assert asked.startswith(f"CONNECT {EDGE}:1 HTTP/1".encode())
    assert KEY.encode() not in asked
    loop.stop()
