"""Who may bind what (edge.md §3): tokens with rules, reserved names and addresses, labels."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from harness.edge import Edge
from harness.muxado import BIND_LABELED
from harness.scripted import Bound, Refused, ScriptedAgent, rules

Json = dict[str, Any]

ANN, BO, CY, LABELS = "token-of-ann", "token-of-bo", "token-of-cy", "token-of-labels"
RULES = f"""
tokens:
  - {{token: {ANN}, name: ann}}
  - {{token: {BO}, name: bo, acl: ["bind:*.Bo.localhost", "bind:one.localhost", "bind:localhost:NAMED"]}}
  - {{token: {CY}, name: cy, acl: []}}
  - {{token: {LABELS}, name: labels, acl: ["bind:app=web"]}}
reserved:
  - {{name: ann.localhost, token: ann}}
  - {{name: "*.Ann.localhost", token: ann}}
  - {{name: shop.bo.localhost, token: cy}}
  - {{name: "localhost:HELD", token: ann}}
labels:
  - match: {{app: web}}
    url: https://web.localhost
"""


@pytest.fixture(scope="module")
def edge(new_shared_edge: Callable[..., Edge], tmp_path_factory: pytest.TempPathFactory) -> Edge:
    home = tmp_path_factory.mktemp("rules")
    edge = new_shared_edge(*rules(home, ""))
    rules(home, placed(RULES, edge))  # its ports are known now
    edge.process.signal(signal.SIGHUP)
    edge.process.wait_for("configuration reloaded")
    return edge


def placed(text: str, edge: Edge) -> str:
    """With ports of this edge for the words that stand for them."""
    for name, port in zip(("FREE", "NAMED", "HELD"), edge.tcp_ports, strict=False):
        text = text.replace(name, str(port))
    return text


@pytest.fixture
def who(edge: Edge) -> Iterator[Callable[[str], ScriptedAgent]]:
    made: list[ScriptedAgent] = []

    def come(token: str) -> ScriptedAgent:
        made.append(ScriptedAgent.to(edge))
        made[-1].login(token)
        return made[-1]

    yield come
    for agent in made:
        agent.close()


def outcome(agent: ScriptedAgent, url: str) -> int | str:
    """The URL, or the code of the refusal."""
    try:
        return Bound(agent.bind(url.split("://", maxsplit=1)[0], {"URL": url}).answer).url.rsplit(":", 1)[0]
    except Refused as refused:
        return refused.code


@pytest.mark.parametrize(
    ("token", "url", "code"),
    [
        (ANN, "https://ann.localhost", None),
        (ANN, "http://x.ann.localhost", None),
        (ANN, "tls://*.ann.localhost", None),
        (ANN, "https://anything.localhost", None),
        (CY, "https://ann.localhost", 320),
        (CY, "http://x.y.ann.localhost", 320),
        (CY, "https://ANN.localhost", 320),
        (CY, "tls://*.ann.localhost", 320),
        (CY, "https://shop.bo.localhost", None),
        (BO, "https://shop.bo.localhost", 320),
        (BO, "https://x.bo.localhost", None),
        (BO, "https://one.localhost", None),
        (BO, "https://two.localhost", 316),
        (BO, "https://bo.localhost", 316),
        (BO, "https://*.one.localhost", 316),
        (BO, "https://", 316),
        (BO, "tcp://localhost:NAMED", None),
        (BO, "tcp://localhost:FREE", 308),
        (BO, "tcp://localhost:HELD", 309),
        (BO, "tcp://", 356),
        (CY, "tcp://localhost:HELD", 309),
        (CY, "tcp://localhost:FREE", None),
        (CY, "tcp://localhost:9", 307),
        (ANN, "tcp://localhost:HELD", None),
    ],
)
def test_rules_and_reservations_decide_each_bind(
    edge: Edge, who: Callable[[str], ScriptedAgent], token: str, url: str, code: int | None
) -> None:
    result = outcome(who(token), placed(url, edge))
    assert isinstance(result, str) if code is None else result == code


def test_a_wildcard_does_not_take_the_visitors_of_a_name_that_is_somebody_elses(
    who: Callable[[str], ScriptedAgent],
) -> None:
    bo = who(BO)
    assert outcome(bo, "https://*.bo.localhost") == 320, "shop.bo.localhost is cy's, and may be offline"
    with pytest.raises(Refused) as refused:
        bo.bind("https", {"URL": "https://*.bo.localhost"})
    assert "shop.bo.localhost" in refused.value.text


def test_a_name_of_another_account_is_not_shared_even_where_both_pool(who: Callable[[str], ScriptedAgent]) -> None:
    ann, cy, again = who(ANN), who(CY), who(ANN)
    url = ann.bind("https", {"URL": "https://pooled.localhost"}, PoolingEnabled=True).url
    with pytest.raises(Refused) as refused:
        cy.bind("https", {"URL": url}, PoolingEnabled=True)
    assert refused.value.code == 334
    assert again.bind("https", {"URL": url}, PoolingEnabled=True).url == url


def test_an_identity_of_another_account_is_not_taken_over(edge: Edge, who: Callable[[str], ScriptedAgent]) -> None:
    ann = ScriptedAgent.to(edge)
    with ann, ScriptedAgent.to(edge) as cy:
        client = ann.login(ANN)["ClientId"]
        bound = ann.bind("https")
        cy.login(CY, client_id=client)
        assert ann.unbind("still here")["Error"] == ""
        assert cy.unbind(bound.id)["Error"] == ""
        with pytest.raises(Refused) as refused:
            cy.bind_again(bound)
        assert refused.value.code == 334


@pytest.mark.parametrize(
    ("token", "labels", "code"),
    [
        (ANN, {"app": "web"}, None),
        (LABELS, {"app": "web", "x": "y"}, None),
        (LABELS, {"app": "api"}, 399),
        (BO, {"app": "web"}, 399),
    ],
    ids=json.dumps,
)
def test_labels_are_under_rules_too(
    who: Callable[[str], ScriptedAgent], token: str, labels: dict[str, str], code: int | None
) -> None:
    answer = who(token).call(BIND_LABELED, {"Labels": labels})
    if code is None:
        assert answer["Error"] == ""
    else:
        assert answer["Error"].rstrip().endswith(f"ERR_NGROK_{code}")


def test_where_only_reservations_count_names_are_random_or_reserved(
    new_edge: Callable[..., Edge], tmp_path_factory: pytest.TempPathFactory
) -> None:
    edge = new_edge(
        *rules(
            tmp_path_factory.mktemp("rules"),
            f"reserved_only: true\ntokens: [{{token: {ANN}, name: ann}}]\n"
            "reserved: [{name: mine.localhost, token: ann}, {name: '*.all.localhost', token: ann}]\n",
        )
    )
    with ScriptedAgent.to(edge) as agent:
        agent.login(ANN)
        for url in (
            "https://",
            "https://mine.localhost",
            "https://x.all.localhost",
            "https://*.all.localhost",
            "tcp://",
        ):
            assert isinstance(outcome(agent, url), str), url
        assert outcome(agent, "https://else.localhost") == 319
        assert outcome(agent, "https://*.else.localhost") == 318
        assert outcome(agent, f"tcp://localhost:{edge.tcp_ports[0]}") == 307


def test_a_token_taken_away_by_a_reload_ends_its_sessions_and_no_others(
    new_edge: Callable[..., Edge], tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("rules")
    flags = rules(home, f"tokens: [{{token: {ANN}, name: ann}}, {{token: {CY}, name: cy}}]\n")
    edge = new_edge(*flags)
    with ScriptedAgent.to(edge) as ann, ScriptedAgent.to(edge) as cy:
        ann.login(ANN)
        cy.login(CY)
        rules(home, f"tokens: [{{token: {CY}, name: cy, acl: ['bind:only.localhost']}}]\n")

        edge.process.signal(signal.SIGHUP)
        ann.wait_ended()
        assert ann.goaway == ann.frames[-1]
        assert outcome(cy, "https://other.localhost") == 316, "new rules hold for open sessions"
        assert isinstance(outcome(cy, "https://only.localhost"), str)
    with ScriptedAgent.to(edge) as again, pytest.raises(Refused) as refused:
        again.login(ANN)
    assert refused.value.code == 107
