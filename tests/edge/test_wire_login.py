"""The login of agents (wire-protocol.md §4.3): who gets in, what they are told, and what failures cost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.edge import Edge
from harness.muxado import AUTH, BIND, SRV_INFO, UNBIND
from harness.process import until
from harness.scripted import GO, RUST, Refused, ScriptedAgent, auth, bind, rules

NewEdge = Callable[..., Edge]


@pytest.fixture(scope="module")
def edge(new_shared_edge: NewEdge) -> Edge:
    return new_shared_edge()


@pytest.fixture
def agent(edge: Edge) -> Iterator[ScriptedAgent]:
    """Connected, and nobody yet."""
    with ScriptedAgent.to(edge) as agent:
        yield agent


# === row 7


@pytest.mark.parametrize("key", ["AuthToken", "Authtoken", "authtoken", "AUTHTOKEN"])
def test_r64_row7_the_token_is_found_in_every_spelling(edge: Edge, agent: ScriptedAgent, key: str) -> None:
    assert agent.login(edge.token, key=key)["Error"] == ""


def test_r64_optional_keys_may_be_absent_and_unknown_ones_are_passed_over(edge: Edge, agent: ScriptedAgent) -> None:
    message = {"ClientId": "", "New": [1, {}], "Extra": {"AuthToken": edge.token, "Newer": {"x": None}}}
    assert agent.call(AUTH, message)["Error"] == ""


# === row 3


def test_r65_row3_row34_the_answer_has_what_strict_agents_require_and_offers_nothing_more(
    edge: Edge, agent: ScriptedAgent
) -> None:
    answer = agent.login(edge.token, user_agent=RUST)
    assert answer["Version"] == "3"
    assert isinstance(answer["ClientId"], str)
    assert answer["ClientId"]
    extra = answer["Extra"]
    types = {
        **dict.fromkeys(("Version", "Region", "Cookie", "AccountName", "PlanName", "Banner", "AgentSessionID"), str),
        "SessionDuration": int,
    }
    assert {key: type(extra[key]) for key in types} == types
    assert extra["DeprecationWarning"] is None
    assert "AgentMetrics" not in extra
    assert "ConnectAddresses" not in extra
    assert "Portway" not in extra, "for agents of our own only"


def test_the_edge_chooses_the_first_version_it_speaks_and_refuses_others(edge: Edge) -> None:
    for offered, chosen in ((["3", "2"], "3"), (["2"], "2"), (["9", "2", "3"], "2"), ([], "3")):
        with ScriptedAgent.to(edge) as agent:
            answer = agent.call(AUTH, {**auth(edge.token), "Version": offered})
            assert (answer["Error"], answer["Version"]) == ("", chosen)
    with ScriptedAgent.to(edge) as agent, pytest.raises(Refused) as refused:
        agent.call_or_refused(AUTH, {**auth(edge.token), "Version": ["9"]})
    assert refused.value.code == 811


def test_r65_a_refusal_can_be_read_by_strict_agents_too(agent: ScriptedAgent) -> None:
    answer = agent.call(AUTH, auth("wrong"))
    assert isinstance(answer["Version"], str)
    assert isinstance(answer["ClientId"], str)
    assert isinstance(answer["Extra"], dict)


# === identity


def test_r67_an_agent_without_an_identity_gets_one_and_keeps_what_it_has(edge: Edge) -> None:
    with ScriptedAgent.to(edge) as first, ScriptedAgent.to(edge) as second:
        ids = {first.login(edge.token)["ClientId"], second.login(edge.token)["ClientId"]}
        assert len(ids) == 2
        assert "" not in ids
    for known in ids:
        with ScriptedAgent.to(edge) as again:
            assert again.login(edge.token, client_id=known)["ClientId"] == known
    with ScriptedAgent.to(edge) as foreign:
        assert foreign.login(edge.token, client_id="of-another-edge")["ClientId"] == "of-another-edge"


def test_the_cookie_is_given_back_as_it_was(edge: Edge) -> None:
    with ScriptedAgent.to(edge) as agent:
        cookie = agent.login(edge.token)["Extra"]["Cookie"]
        assert cookie
    with ScriptedAgent.to(edge) as agent:
        assert agent.login(edge.token, Cookie=cookie)["Extra"]["Cookie"] == cookie


def test_r68_intervals_in_nanoseconds_are_checked_and_capabilities_may_be_null_empty_or_text(edge: Edge) -> None:
    for refusals in ({}, {"StopUnsupportedError": None, "RestartUnsupportedError": "", "UpdateUnsupportedError": "no"}):
        with ScriptedAgent.to(edge) as agent:
            assert agent.login(edge.token, **refusals)["Error"] == ""
    for key, code in (("HeartbeatInterval", 111), ("HeartbeatTolerance", 112)):
        with ScriptedAgent.to(edge) as agent, pytest.raises(Refused) as refused:
            agent.login(edge.token, **{key: 10})  # seconds, where nanoseconds are meant
        assert refused.value.code == code


# === before and after


def test_r79_row31_srv_info_is_answered_without_a_login(agent: ScriptedAgent) -> None:
    answer = agent.call(SRV_INFO, {})
    assert isinstance(answer["Region"], str)
    assert answer["Region"]


def test_r63_a_bind_before_the_login_is_an_error_and_the_login_still_works(edge: Edge, agent: ScriptedAgent) -> None:
    for kind, message in ((BIND, bind("https", {})), (UNBIND, {"Id": "x"})):
        with pytest.raises(Refused) as refused:
            agent.call_or_refused(kind, message)
        assert refused.value.code == 800
    assert agent.login(edge.token)["Error"] == ""
    assert agent.bind().url.startswith("https://")


def test_r63_a_second_login_is_an_error_and_changes_nothing(edge: Edge, agent: ScriptedAgent) -> None:
    agent.login(edge.token)
    bound = agent.bind()
    for token in (edge.token, "wrong"):
        with pytest.raises(Refused) as refused:
            agent.login(token, client_id="another")
        assert refused.value.code == 800
    assert agent.bind("https", {"URL": bound.url}, id=bound.id).url == bound.url, "still the same session"


# === failures


@pytest.mark.parametrize(
    ("token", "code"), [("wrong", 107), ("", 4018), ("two words", 105), ("x" * 2000, 105)], ids=str
)
@pytest.mark.parametrize("user_agent", [GO, RUST], ids=["go", "rust"])
def test_r66_row33_a_wrong_token_is_told_and_then_the_connection_ends(
    agent: ScriptedAgent, token: str, code: int, user_agent: str
) -> None:
    stream = agent.ask(AUTH, auth(token, user_agent=user_agent))
    answer = json.loads(stream.everything())
    assert answer["Error"].rstrip().splitlines()[-1] == f"ERR_NGROK_{code}"
    stream.finish()
    agent.wait_ended()
    assert agent.goaway == agent.frames[-1], "GOAWAY comes last"


def test_an_agent_that_keeps_its_side_open_after_a_refusal_is_let_go_all_the_same(agent: ScriptedAgent) -> None:
    agent.ask(AUTH, auth("wrong")).everything()
    agent.wait_ended()


@pytest.mark.parametrize("extra", [{"OS": 1}, {"HeartbeatInterval": "x"}, {"MutualTLS": "no"}], ids=str)
def test_a_login_with_wrong_types_is_refused(edge: Edge, agent: ScriptedAgent, extra: dict[str, object]) -> None:
    with pytest.raises(Refused) as refused:
        agent.login(edge.token, **extra)
    assert refused.value.code == 109


def refusals(edge: Edge, *tokens: str) -> list[int]:
    """The codes that logins with these tokens are refused with, one after the other."""
    codes = []
    for token in tokens:
        with ScriptedAgent.to(edge) as agent, pytest.raises(Refused) as refused:
            agent.login(token)
        codes.append(refused.value.code)
    return codes


def test_r66_row32_failed_logins_are_counted_and_soon_not_told_apart(new_edge: NewEdge, tmp_path: Path) -> None:
    edge = new_edge(*rules(tmp_path, "limits: {failed_logins: 3}\n"))
    assert refusals(edge, *["wrong"] * 5) == [107, 107, 107, 702, 702]
    assert edge.metric("portway_logins_failed_total") == 5
    assert edge.metrics()['portway_errors_total{code="ERR_NGROK_702"}'] == 2


def test_a_right_token_is_not_held_up_by_wrong_ones_from_its_address(new_edge: NewEdge, tmp_path: Path) -> None:
    edge = new_edge(*rules(tmp_path, "limits: {failed_logins: 3}\n"))
    assert refusals(edge, "wrong", "wrong", "wrong", "wrong")[-1] == 702
    with ScriptedAgent.to(edge) as agent:
        assert agent.login(edge.token)["Error"] == ""
    assert refusals(edge, "wrong") == [702], "one that is right does not let the others off"


@pytest.mark.parametrize("token", ["short", "a" * 40, "changeme-changeme-changeme"])
def test_beyond_the_limit_a_guess_at_a_token_that_can_be_guessed_tells_nothing(
    token: str, new_edge: NewEdge, tmp_path: Path
) -> None:
    edge = new_edge(*rules(tmp_path, f"limits: {{failed_logins: 3}}\ntokens: [{{token: {token}, name: ann}}]\n"))
    with ScriptedAgent.to(edge) as agent:
        assert agent.login(token)["Error"] == ""
    assert refusals(edge, *["wrong"] * 3) == [107] * 3
    assert refusals(edge, token, "wrong", edge.token[:-1]) == [702] * 3


def test_a_login_that_its_agent_does_not_wait_for_leaves_nothing_behind(edge: Edge) -> None:
    for _ in range(20):
        agent = ScriptedAgent.to(edge)
        agent.ask(AUTH, auth(edge.token))
        agent.close()
    since = edge.process.position
    with ScriptedAgent.logged_in(edge):
        edge.process.wait_for("agent connected", since=since)
    edge.process.wait_for("agent disconnected", since=since)
    until("no session is counted any more", lambda: edge.metric("portway_agent_sessions") == 0)
