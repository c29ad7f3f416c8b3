"""An agent that is played by the test, on a scripted muxado peer: login, binds, answers to visitors."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.edge import Address, Edge
from harness.muxado import AUTH, BIND, UNBIND, Json, Peer, Proxied

RUST = "ngrok-python/1.7.0 ngrok-rust/0.18.0"
GO = "ngrok-go/2.1.1"

# What SDKs send for options that are not used (wire-protocol.md §4.4).
_NAMES: Json = dict.fromkeys(("Domain", "Hostname", "Subdomain"), "")
_HTTP: Json = {
    **_NAMES,
    **dict.fromkeys(("Compression", "CircuitBreaker", "IPRestriction", "BasicAuth", "OAuth", "OIDC")),
    **dict.fromkeys(("WebhookVerification", "MutualTLSCA", "RequestHeaders", "ResponseHeaders")),
    **dict.fromkeys(("WebsocketTCPConverter", "UserAgentFilter")),
    "Auth": "",
    "HostHeaderRewrite": False,
    "ProxyProto": 0,
}
_TCP: Json = {"Addr": "", "ProxyProto": 0, "IPRestriction": None}
_TLS: Json = {
    **_NAMES,
    **dict.fromkeys(("MutualTLSAtEdge", "TLSTermination", "IPRestriction")),
    "MutualTLSAtAgent": False,
    "ProxyProto": 0,
}
_GO: Json = {"URL": "", "Policy": None, "TrafficPolicy": ""}
_RUST: Json = {"TrafficPolicy": None}

GO_HTTP: Json = {**_HTTP, **_GO, "LocalURLScheme": ""}
RUST_HTTP: Json = {**_HTTP, **_RUST, "LocalUrlScheme": None}
GO_TCP, RUST_TCP = {**_TCP, **_GO}, {**_TCP, **_RUST}
GO_TLS, RUST_TLS = {**_TLS, **_GO}, {**_TLS, **_RUST}
OPTS: dict[str, Json] = {"http": GO_HTTP, "https": GO_HTTP, "tcp": GO_TCP, "tls": GO_TLS}


class Refused(Exception):  # noqa: N818 — it is an answer, expected by many tests
    """An `Error` in an answer."""

    def __init__(self, answer: Json) -> None:
        super().__init__(answer["Error"])
        self.answer = answer
        self.text: str = answer["Error"]

    @property
    def code(self) -> int:
        """As Rust's SDKs find it: at the beginning of a line."""
        codes = [line for line in self.text.splitlines() if line.startswith("ERR_NGROK_")]
        assert codes, f"no line with a code in {self.text!r}"
        return int(codes[-1].removeprefix("ERR_NGROK_"))


def succeeded(answer: Json) -> Json:
    if answer.get("Error"):
        raise Refused(answer)
    return answer


def context(edge: Edge, *, names: bool = False) -> ssl.SSLContext:
    """Trusts the edge's CA, as an agent does that was given it."""
    made = ssl.create_default_context(cafile=str(edge.ca))
    made.check_hostname = names
    return made


@dataclass
class Bound:
    """An endpoint of ours, as the edge told."""

    answer: Json

    @property
    def id(self) -> str:
        return str(self.answer["Id"])

    @property
    def url(self) -> str:
        return str(self.answer["URL"])

    @property
    def opts(self) -> Json:
        opts: Json = self.answer["Opts"]
        return opts

    @property
    def token(self) -> str:
        return str(self.answer["Extra"]["Token"])


class ScriptedAgent(Peer):
    """Every answer of the edge as it came; nothing happens that the test did not ask for."""

    @classmethod
    def to(cls, edge: Edge, *, address: Address | None = None, name: str | None = None, **how: Any) -> ScriptedAgent:
        return cls.dial(address or edge.agent, context(edge, names=name is not None), name, **how)

    @classmethod
    def logged_in(cls, edge: Edge, *, user_agent: str = GO, client_id: str = "", **how: Any) -> ScriptedAgent:
        agent = cls.to(edge, **how)
        agent.login(edge.token, user_agent=user_agent, client_id=client_id)
        return agent

    def call_or_refused(self, kind: int, message: Mapping[str, Any]) -> Json:
        """As `call`; an `Error` is raised."""
        return succeeded(self.call(kind, message))

    def login(self, token: str, **extra: Any) -> Json:
        return self.call_or_refused(AUTH, auth(token, **extra))

    def bind(self, proto: str = "https", opts: Mapping[str, Any] | None = None, **rest: Any) -> Bound:
        """Binds with these options beside all those that an SDK sends unset."""
        return Bound(succeeded(self.call(BIND, bind(proto, {**OPTS[proto], **(opts or {})}, **rest))))

    def bind_again(self, bound: Bound) -> Bound:
        """As SDKs do after a reconnect: with what the last answer said."""
        return Bound(
            succeeded(self.call(BIND, bind(bound.answer["Proto"], bound.opts, id=bound.id, token=bound.token)))
        )

    def unbind(self, id: str) -> Json:  # noqa: A002 — the protocol's word
        return self.call(UNBIND, {"Id": id, "Extra": None})

    def serve_http(self, app: Callable[[Request], bytes] | None = None) -> list[Request]:
        """Answers the requests of all visitors; those that came are in the list."""
        seen: list[Request] = []

        def each(proxied: Proxied) -> None:
            while True:
                request = read_request(proxied)
                seen.append(request)
                proxied.stream.send((app or hello)(request))

        self.serve(each)
        return seen


def auth(
    token: str,
    *,
    client_id: str = "",
    user_agent: str = GO,
    leg: int = 0,
    key: str = "Authtoken",
    **extra: Any,
) -> Json:
    return {
        "Version": ["3", "2"],
        "ClientId": client_id,
        "Extra": {
            **dict.fromkeys(("Hostname", "Metadata", "Cookie", "ProxyType", "ConfigVersion"), ""),
            **dict.fromkeys(("MutualTLS", "ServiceRun", "CustomInterface", "CustomCAs"), False),
            "OS": "linux",
            "Arch": "amd64",
            key: token,
            "Version": "1.0.0",
            "UserAgent": user_agent,
            "HeartbeatInterval": 10 * 10**9,
            "HeartbeatTolerance": 15 * 10**9,
            "Fingerprint": None,
            "ClientType": "ngrok-go",
            "LegNumber": leg,
            **extra,
        },
    }


def bind(
    proto: str,
    opts: Mapping[str, Any],
    *,
    id: str = "",  # noqa: A002 — the protocol's word
    token: str = "",
    forwards_proto: str = "",
    **extra: Any,
) -> Json:
    return {
        "Id": id,
        "Proto": proto,
        "ForwardsTo": "app://test",
        "ForwardsProto": forwards_proto,
        "Opts": opts,
        "Extra": {
            "Token": token,
            "IPPolicyRef": "",
            "Metadata": "",
            "Bindings": None,
            "PoolingEnabled": False,
            **extra,
        },
    }


# === HTTP inside a stream


@dataclass(frozen=True)
class Request:
    """As it reached the agent."""

    line: str
    fields: list[tuple[str, str]]
    body: bytes
    header: Json  # of the stream it came on

    def get(self, name: str) -> str | None:
        """All values of that name (lower case), joined."""
        found = [value for key, value in self.fields if key == name]
        return ", ".join(found) if found else None


def read_request(proxied: Proxied) -> Request:
    """The next request of a stream."""
    line, *lines = proxied.stream.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
    pairs = [text.split(":", 1) for text in lines if text]
    fields = [(name.lower(), value.strip()) for name, value in pairs]
    known = dict(fields)
    body = b""
    if "content-length" in known:
        body = proxied.stream.exactly(int(known["content-length"]))
    elif "chunked" in known.get("transfer-encoding", ""):
        while size := int(proxied.stream.until(b"\r\n"), 16):
            body += proxied.stream.exactly(size)
            proxied.stream.until(b"\r\n")
        proxied.stream.until(b"\r\n")
    return Request(line, fields, body, proxied.header)


def response(body: bytes = b"", status: str = "200 OK", **fields: str) -> bytes:
    """An HTTP/1.1 response; `_` in names of headers stands for `-`."""
    given = {"content-length": str(len(body)), **{name.replace("_", "-"): value for name, value in fields.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in given.items())
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def hello(request: Request) -> bytes:
    """What an upstream says that tells what reached it."""
    told = {"line": request.line, "fields": request.fields, "body": request.body.decode("latin-1")}
    return response(json.dumps(told).encode(), content_type="application/json")


def rules(home: Path, text: str) -> tuple[str, str]:
    """Flags of an edge that is told this beyond them, in an edge.yml."""
    home.mkdir(parents=True, exist_ok=True)
    file = home / "edge.yml"
    file.write_text(text)
    return "--config", str(file)
