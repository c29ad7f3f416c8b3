"""A server of the API as it is published: it takes what fits the document, and answers with what fits it.

It keeps nothing: a resource that is asked for is made up. What is wrong with a request is in the answer, and in
`problems`, so that a test fails that sent it.
"""

from __future__ import annotations

import json
import re
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from jsonschema import Draft202012Validator

from harness.need import ROOT

KEY = "2bXn5QyRk1VdLw8sZt4UaGc7Hm3_5kqT9vWmZr2NpXcYbLd8F"
OPERATION = "op_2bXn5QyRk1VdLw8sZt4UaGc7Hm3"
ID = re.compile(r"[0-9a-z]+_[0-9A-Za-z]{27}")
PATTERNS = {"id": ID, "edge_id": ID, "subscription_id": ID, "type": re.compile(r"\w+\.v\d+")}

Json = dict[str, Any]


def identifier(prefix: str) -> str:
    return f"{prefix}_2bXn5QyRk1VdLw8sZt4UaGc7Hm3"


def document() -> Json:
    loaded: Json = json.loads((ROOT / "tools" / "openapi" / "api.json").read_text())
    return loaded


def strict(schemas: Json) -> Json:
    """Schemas that refuse what they do not name."""

    def closed(schema: Json) -> Json:
        made = dict(schema)
        if "properties" in made:
            made["properties"] = {name: closed(one) for name, one in made["properties"].items()}
            made.setdefault("additionalProperties", False)
        if isinstance(made.get("items"), dict):
            made["items"] = closed(made["items"])
        return made

    return {name: closed(schema) for name, schema in schemas.items()}


@dataclass
class Seen:
    """A request as it came."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    operation: str = ""
    """What the document calls it; nothing where it has no such operation."""

    @property
    def path(self) -> str:
        return urlsplit(self.target).path

    @property
    def query(self) -> list[tuple[str, str]]:
        return parse_qsl(urlsplit(self.target).query, keep_blank_values=True)

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    """What is answered instead of what fits."""

    status: int = 200
    content: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    raw: bytes | None = None
    """Everything that is sent, head and all."""

    @classmethod
    def error(cls, status: int, msg: str, code: str | None = None, **details: str) -> Reply:
        told: Json = {"error_code": code} if code else {}
        told |= {"status_code": status, "msg": msg, "details": details}
        return cls(status, json.dumps(told).encode())


class Api:
    """A running server. `replies` are answered first, in their order."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.document = document()
        self.schemas = strict(self.document["components"]["schemas"])
        self.seen: list[Seen] = []
        self.problems: list[str] = []
        self.replies: list[Reply | Callable[[Seen], Reply]] = []
        self.server = Server(self, tls)
        self.port: int = self.server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://localhost:{self.port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def last(self) -> Seen:
        return self.seen[-1]

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    # === judging

    def answer(self, seen: Seen) -> Reply:
        self.seen.append(seen)
        if seen.headers.get("authorization") != f"Bearer {KEY}":
            return Reply.error(403, "This is no key of this API.", "ERR_NGROK_203", operation_id=OPERATION)
        operation, values = self.find(seen)
        problems = ["no such operation"] if operation is None else list(self.judge(seen, operation, values))
        if problems or operation is None:
            self.problems += [f"{seen.method} {seen.target}: {one}" for one in problems]
            return Reply.error(400, "; ".join(problems), "ERR_NGROK_215", operation_id=OPERATION)
        seen.operation = operation["operationId"]
        if self.replies:
            reply = self.replies.pop(0)
            return reply if isinstance(reply, Reply) else reply(seen)
        ((status, response),) = [one for one in operation["responses"].items() if one[0] != "default"]
        if "content" not in response:
            return Reply(int(status))
        return Reply(int(status), json.dumps(self.made(response["content"]["application/json"]["schema"])).encode())

    def find(self, seen: Seen) -> tuple[Json | None, dict[str, str]]:
        """The operation of a request, and the values in its path; a fixed part wins over a value."""
        parts = seen.path.split("/")
        for template in sorted(self.document["paths"], key=lambda path: path.count("{")):
            wanted = template.split("/")
            pairs = list(zip(wanted, parts, strict=False))
            if len(wanted) == len(parts) and all(one == other or (one[:1] == "{" and other) for one, other in pairs):
                values = {one[1:-1]: unquote(other) for one, other in pairs if one.startswith("{")}
                return self.document["paths"][template].get(seen.method.lower()), values
        return None, {}

    def judge(self, seen: Seen, operation: Json, values: dict[str, str]) -> list[str]:
        problems = []
        if seen.headers.get("ngrok-version") != "2":
            problems.append("the header ngrok-version is not 2")
        for name, value in values.items():
            if not PATTERNS[name].fullmatch(value):
                problems.append(f"{value!r} is no {name}")
        known = {one["name"] for one in operation["parameters"] if one["in"] == "query"}
        names = [name for name, _ in seen.query]
        problems += [f"unknown query parameter {name}" for name in names if name not in known]
        problems += [f"query parameter {name} twice" for name in set(names) if names.count(name) > 1]
        problems += ["limit is no number" for name, value in seen.query if name == "limit" and not value.isdigit()]
        if seen.method in ("GET", "DELETE"):
            problems += ["there is a body"] if seen.body or "content-type" in seen.headers else []
        else:
            problems += self.judge_body(seen, operation)
        return problems

    def judge_body(self, seen: Seen, operation: Json) -> list[str]:
        if seen.headers.get("content-type") != "application/json":
            return ["the content type is not application/json"]
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        validator = Draft202012Validator({**schema, "components": {"schemas": self.schemas}})
        return [f"{one.json_path}: {one.message}" for one in validator.iter_errors(seen.json)]

    # === answering

    def made(self, schema: Json, name: str = "") -> Any:
        """Something that fits a schema."""
        if "$ref" in schema:
            return self.made(self.document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], name)
        kind = schema["type"]
        if name == "next_page_uri":
            return None
        if kind == "object":
            return {key: self.made(one, key) for key, one in schema.get("properties", {}).items()}
        if kind == "array":
            return [self.made(schema["items"], name)]
        return {"string": f"a {name}", "boolean": True, "integer": 7, "number": 0.5}[kind]


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, api: Api, tls: ssl.SSLContext | None) -> None:
        self.api = api
        self.tls = tls
        super().__init__(("127.0.0.1", 0), Handler)

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        if self.tls:
            connection = self.tls.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
        return connection, address

    def handle_error(self, *_: object) -> None:
        pass  # a client that does not trust this server, or has gone


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        reply = self.server.api.answer(Seen(self.command, self.path, headers, body))
        if reply.raw is not None:
            self.wfile.write(reply.raw)
            self.close_connection = True
            return
        self.send_response(reply.status)
        for name, value in {"Content-Type": "application/json", **reply.headers}.items():
            self.send_header(name, value)
        if reply.status != 204:
            self.send_header("Content-Length", str(len(reply.content)))
        self.end_headers()
        self.wfile.write(reply.content)

    def log_message(self, *_: object) -> None:
        pass


for _method in ("GET", "POST", "PATCH", "PUT", "DELETE"):
    setattr(Handler, f"do_{_method}", Handler._any)
