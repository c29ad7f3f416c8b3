"""WebhookVerification with signatures made as the providers' public documentation says (traffic-policy.md §7)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from harness.edge import Edge
from harness.scripted import Refused, ScriptedAgent, rules
from harness.visitor import Answer, Visitor

SECRET = "shared secret"
BODY = b'{"event": "pushed", "n": [1, 2]}'
SVIX_KEY = b"a key of svix"

Headers = dict[str, str]
Sign = Callable[[bytes, int], Headers]


@pytest.fixture(scope="module")
def edge(new_shared_edge: Callable[..., Edge]) -> Edge:
    return new_shared_edge()


@pytest.fixture
def agent(edge: Edge) -> Iterator[ScriptedAgent]:
    with ScriptedAgent.logged_in(edge) as agent:
        yield agent


def mac(message: bytes, hash_name: str = "sha256", key: bytes = SECRET.encode()) -> bytes:
    return hmac.new(key, message, hash_name).digest()


def b64(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def of_body(header: str, prefix: str = "", hash_name: str = "sha256", text: Callable[[bytes], str] = bytes.hex) -> Sign:
    return lambda body, now: {header: prefix + text(mac(body, hash_name))}


def stamped(header: str, time_key: str, tag_key: str) -> Sign:
    return lambda body, now: {header: f"{time_key}={now},{tag_key}={mac(f'{now}.'.encode() + body).hex()}"}


def versioned(header: str, time_header: str, version: str) -> Sign:
    return lambda body, now: {
        header: f"{version}={mac(f'{version}:{now}:'.encode() + body).hex()}",
        time_header: str(now),
    }


def svix(prefix: str) -> Sign:
    def sign(body: bytes, now: int) -> Headers:
        tag = mac(f"msg_1.{now}.".encode() + body, key=SVIX_KEY)
        return {
            f"{prefix}-id": "msg_1",
            f"{prefix}-timestamp": str(now),
            f"{prefix}-signature": f"v1,{b64(bytes(32))} v1,{b64(tag)}",
        }

    return sign


def iso(now: int) -> str:
    return datetime.fromtimestamp(now, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def box(body: bytes, now: int) -> Headers:
    return {"box-signature-primary": b64(mac(body + iso(now).encode())), "box-delivery-timestamp": iso(now)}


def zendesk(body: bytes, now: int) -> Headers:
    tag = b64(mac(iso(now).encode() + body))
    return {"x-zendesk-webhook-signature": tag, "x-zendesk-webhook-signature-timestamp": iso(now)}


SENDGRID = ec.generate_private_key(ec.SECP256R1())
SENDGRID_PUBLIC = b64(SENDGRID.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def sendgrid(body: bytes, now: int) -> Headers:
    signature = SENDGRID.sign(str(now).encode() + body, ec.ECDSA(hashes.SHA256()))
    prefix = "x-twilio-email-event-webhook"
    return {f"{prefix}-signature": b64(signature), f"{prefix}-timestamp": str(now)}


# What each provider's own documentation says of its signature.
BY_BODY: dict[str, Sign] = {
    "github": of_body("X-Hub-Signature-256", "sha256="),
    "bitbucket": of_body("X-Hub-Signature", "sha256="),
    "jira": of_body("X-Hub-Signature", "sha256="),
    "facebook_graph_api": of_body("X-Hub-Signature-256", "sha256="),
    "whatsapp": of_body("X-Hub-Signature-256", "sha256="),
    "instagram": of_body("X-Hub-Signature-256", "sha256="),
    "intercom": of_body("X-Hub-Signature", "sha1=", "sha1"),
    "gitlab": lambda body, now: {"X-Gitlab-Token": SECRET},
    "shopify": of_body("X-Shopify-Hmac-SHA256", text=b64),
    "dropbox": of_body("X-Dropbox-Signature"),
    "linear": of_body("Linear-Signature"),
    "typeform": of_body("Typeform-Signature", "sha256=", text=b64),
    "pagerduty": lambda body, now: {"X-PagerDuty-Signature": f"v1={bytes(32).hex()},v1={mac(body).hex()}"},
    "heroku": of_body("Heroku-Webhook-Hmac-SHA256", text=b64),
    "terraform": of_body("X-TFE-Notification-Signature", hash_name="sha512"),
    "webex": of_body("X-Spark-Signature", hash_name="sha1"),
    "xero": of_body("x-xero-signature", text=b64),
    "sentry": of_body("Sentry-Hook-Signature"),
    "circleci": of_body("circleci-signature", "v1="),
    "pusher": of_body("X-Pusher-Signature"),
    "autodesk": of_body("x-adsk-signature", "sha1hash=", "sha1"),
}
BY_TIME: dict[str, Sign] = {
    "slack": versioned("X-Slack-Signature", "X-Slack-Request-Timestamp", "v0"),
    "zoom": versioned("x-zm-signature", "x-zm-request-timestamp", "v0"),
    "frameio": versioned("X-Frameio-Signature", "X-Frameio-Request-Timestamp", "v0"),
    "stripe": stamped("Stripe-Signature", "t", "v1"),
    "mux": stamped("Mux-Signature", "t", "v1"),
    "calendly": stamped("Calendly-Webhook-Signature", "t", "v1"),
    "tiktok": stamped("TikTok-Signature", "t", "s"),
    "buildkite": stamped("X-Buildkite-Signature", "timestamp", "signature"),
    "svix": svix("svix"),
    "clerk": svix("svix"),
    "brex": svix("webhook"),
    "box": box,
    "zendesk": zendesk,
    "sendgrid": sendgrid,
}
KEYS = {**dict.fromkeys(("svix", "clerk", "brex"), "whsec_" + b64(SVIX_KEY)), "sendgrid": SENDGRID_PUBLIC}


def spoiled(value: str) -> str:
    return value[:-1] + ("1" if value.endswith("0") else "0")


def post(edge: Edge, url: str, headers: Headers, body: bytes = BODY) -> Answer:
    with Visitor(edge, url) as visitor:
        return visitor.ask("POST", "/hook", body=body, headers=headers)


@pytest.mark.parametrize("provider", [*BY_BODY, *BY_TIME])
def test_what_the_provider_has_signed_is_let_in_and_nothing_else(
    edge: Edge, agent: ScriptedAgent, provider: str
) -> None:
    sign = {**BY_BODY, **BY_TIME}[provider]
    secret = KEYS.get(provider, SECRET)
    bound = agent.bind("http", {"WebhookVerification": {"provider": provider, "secret": secret}})
    seen = agent.serve_http()
    now = int(time.time())
    answer = post(edge, bound.url, sign(BODY, now))
    assert (answer.status, answer.json["body"]) == (200, BODY.decode()), "and the body comes through as it was"
    wrong = [{}, {name: spoiled(value) for name, value in sign(BODY, now).items()}]
    if provider != "gitlab":
        wrong.append(sign(BODY + b" ", now))
    if provider in BY_TIME:
        wrong += [sign(BODY, now - 660), sign(BODY, now + 660)]
    for headers in wrong:
        answer = post(edge, bound.url, headers)
        assert (answer.status, answer.code) == (403, "ERR_NGROK_3204"), headers
    assert len(seen) == 1, "nothing else reached the upstream"


def test_the_example_of_github_from_its_documentation(edge: Edge, agent: ScriptedAgent) -> None:
    secret = "It's a Secret to Everybody"
    bound = agent.bind("https", {"WebhookVerification": {"provider": "github", "secret": secret}})
    agent.serve_http()
    tag = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    assert post(edge, bound.url, {"X-Hub-Signature-256": f"sha256={tag}"}, b"Hello, World!").status == 200
    assert hmac.new(secret.encode(), b"Hello, World!", hashlib.sha256).hexdigest() == tag


def test_a_signed_body_may_come_in_chunks(edge: Edge, agent: ScriptedAgent) -> None:
    bound = agent.bind("http", {"WebhookVerification": {"provider": "github", "secret": SECRET}})
    seen = agent.serve_http()
    with Visitor(edge, bound.url) as visitor:
        answer = visitor.ask("POST", body=iter([BODY[:5], BODY[5:]]), headers=BY_BODY["github"](BODY, 0))
        assert answer.status == 200
    assert seen[0].body == BODY


def test_a_body_too_large_to_be_verified_is_refused(new_edge: Callable[..., Edge], tmp_path: Path) -> None:
    edge = new_edge(*rules(tmp_path, "limits: {webhook_bytes: 1000}\n"))
    with ScriptedAgent.logged_in(edge) as agent:
        bound = agent.bind("http", {"WebhookVerification": {"provider": "github", "secret": SECRET}})
        seen = agent.serve_http()
        for size, status in ((1000, 200), (1001, 413)):
            body = b"x" * size
            assert post(edge, bound.url, BY_BODY["github"](body, 0), body).status == status
        assert len(seen) == 1


@pytest.mark.parametrize(
    ("verification", "code"),
    [
        ({"provider": "", "secret": "x"}, 363),
        ({}, 363),
        ({"provider": "nobody", "secret": "x"}, 364),
        ({"provider": "twilio", "secret": "x"}, 364),
        ({"provider": "sns"}, 364),
        ({"provider": "github"}, 15007),
        ({"provider": "github", "sealed_secret": b64(b"sealed")}, 15007),
        ({"provider": "github", "secret": "x", "sealed_secret": b64(b"sealed")}, 15007),
        ({"provider": "github", "secret": "x" * 1025}, 15001),
        ({"provider": "sendgrid", "secret": "no key"}, 379),
        ({"provider": "github", "secret": "x", "enforce": "no"}, 301),
    ],
    ids=json.dumps,
)
def test_what_cannot_be_verified_is_refused_at_the_bind(
    agent: ScriptedAgent, verification: dict[str, str], code: int
) -> None:
    with pytest.raises(Refused) as refused:
        agent.bind("http", {"WebhookVerification": verification})
    assert refused.value.code == code
