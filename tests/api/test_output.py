"""What comes out: the answer on stdout as the server sent it, all else on stderr, and the exit code (§3, §4, §7)."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from api.told import Run
from harness.api import KEY, OPERATION, Api, Reply, identifier
from harness.process import portway
from portway.api import client
from portway.api.shown import indented

EP = identifier("ep")


def test_a_resource_is_json_with_two_blanks_and_a_final_newline(api: Api, call: Run) -> None:
    told = call("endpoints", "get", EP)
    assert (told.code, told.err) == (0, "200 OK\n")
    assert told.out == json.dumps(json.loads(told.out), indent=2) + "\n"


def test_what_was_made_is_told_with_its_status(api: Api, call: Run) -> None:
    told = call("reserved-domains", "create", "--domain", "a.example.com")
    assert (told.code, told.err) == (0, "201 Created\n")
    assert json.loads(told.out)["domain"] == "a domain"


def test_nothing_is_told_of_what_was_deleted(api: Api, call: Run) -> None:
    told = call("reserved-domains", "delete", identifier("rd"))
    assert (told.code, told.out, told.err) == (0, "", "204 No Content\n")


def test_the_answer_stays_as_the_server_sent_it(api: Api, call: Run) -> None:
    """Order, numbers, escapes, keys twice: nothing is read and written again."""
    sent = r'{"z":1.0,"a":[],"b":{},"n":1e400,"i":123456789012345678901234567890,"u":"\u00e4\/ä",'
    sent += r'"t":"a,b:{}[]\"","z":[1,{"y":null}]}'
    shown = r"""{
  "z": 1.0,
  "a": [],
  "b": {},
  "n": 1e400,
  "i": 123456789012345678901234567890,
  "u": "\u00e4\/ä",
  "t": "a,b:{}[]\"",
  "z": [
    1,
    {
      "y": null
    }
  ]
}
"""
    api.replies += [Reply(200, sent.encode()), Reply(200, sent.replace(",", " ,\r\n\t").encode())]
    told = call("endpoints", "list")
    assert told.out.encode() == shown.encode()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON, st.sampled_from([None, 1, "\t"]), st.booleans())
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_json_is_shown_as_json_would_be_and_means_the_same(
    value: object, indent: int | str | None, plain: bool
) -> None:
    shown = indented(json.dumps(value, indent=indent, ensure_ascii=plain))
    assert json.loads(shown) == value
    if plain:
        assert shown == json.dumps(value, indent=2)


@pytest.mark.parametrize(
    "text", ["", " ", "{", '{"a":1', "{}{}", "{'a':1}", "NaN", "[Infinity]", "<html>", "[1,]", "[" * 99999]
)
def test_what_is_no_json_is_not_shown(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        indented(text)


def test_signs_that_a_terminal_obeys_are_written_out(api: Api, call: Run) -> None:
    value = "a\x9b2J\x7f\u202eb\u2028"
    api.replies += [Reply(200, json.dumps({"a": value}, ensure_ascii=False).encode())]
    told = call("endpoints", "list")
    assert told.out == '{\n  "a": "a\\u009b2J\\u007f\\u202eb\\u2028"\n}\n'
    assert json.loads(told.out)["a"] == value


def test_letters_come_out_whatever_the_language_of_the_system(api: Api, program: Run) -> None:
    api.replies += [Reply(200, '{"a":"ä→😀"}'.encode())]
    env = {"PORTWAY_API_URL": api.url, "PORTWAY_API_KEY": KEY, "PYTHONIOENCODING": "ascii"}
    told = program("api", "endpoints", "list", env=env)
    assert (told.code, told.out) == (0, '{\n  "a": "ä→😀"\n}\n')


def test_the_status_comes_first_where_both_streams_are_one(api: Api, home: Path) -> None:
    """Wrappers cut what they read at the first brace."""
    argv = [*portway(), "api", "endpoints", "list", "--api-key", KEY, "--api-url", api.url]
    text = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True).stdout
    assert text.startswith("200 OK\n{\n")
    assert json.loads(text[text.index("{") :])


# === paging


def test_a_list_is_one_page_as_the_server_sent_it(api: Api, call: Run) -> None:
    page = {"endpoints": [], "uri": "u", "next_page_uri": f"{api.url}/endpoints?before_id={EP}&limit=1"}
    api.replies += [Reply(200, json.dumps(page).encode())]
    told = call("endpoints", "list", "--limit", "1", "--before-id", EP, "--filter", 'obj.type == "cloud" && 1 < 2')
    assert json.loads(told.out) == page
    assert api.last.query == [("limit", "1"), ("before_id", EP), ("filter", 'obj.type == "cloud" && 1 < 2')]
    assert len(api.seen) == 1


def test_the_server_judges_the_size_of_a_page(api: Api, call: Run) -> None:
    for limit in ("0", "101", "-1"):
        api.replies += [Reply.error(400, "out of range", "ERR_NGROK_233")]
        assert call("endpoints", "list", "--limit", limit).code == 1
        assert api.last.target == f"/endpoints?limit={limit}"
        api.problems.clear()


# === errors of the API


def test_an_error_is_told_with_its_code_and_operation(api: Api, call: Run) -> None:
    msg = "The domain is already reserved.\nChoose another."
    api.replies += [Reply.error(400, msg, "ERR_NGROK_413", operation_id=OPERATION)]
    told = call("reserved-domains", "create", "--domain", "a.example.com")
    assert (told.code, told.out) == (1, "")
    assert told.err == (
        "ERROR:  HTTP 400: The domain is already reserved.\n"
        "ERROR:  Choose another. [ERR_NGROK_413]\n"
        "ERROR:  \n"
        f"ERROR:  Operation ID: {OPERATION}\n"
    )


def test_an_unknown_key_is_told(api: Api, call: Run) -> None:
    told = call("endpoints", "list", key="unknown")
    assert told.errors == [
        "HTTP 403: This is no key of this API. [ERR_NGROK_203]",
        "",
        f"Operation ID: {OPERATION}",
    ]


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply.error(404, "Resource not found"), ["HTTP 404: Resource not found"]),
        (Reply.error(404, "Not Found", path="/x"), ["HTTP 404: Not Found"]),
        (Reply.error(429, "Slow down", "ERR_NGROK_226"), ["HTTP 429: Slow down [ERR_NGROK_226]"]),
        (Reply(500, b'{"status_code":500,"msg":"Oops","details":null}'), ["HTTP 500: Oops"]),
        (
            Reply(500, b'{"status_code":500,"msg":"Oops"}', {"Ngrok-Operation-Id": OPERATION}),
            ["HTTP 500: Oops", "", f"Operation ID: {OPERATION}"],
        ),
        (Reply(502, b"<html>Bad"), ["HTTP 502: Bad Gateway"]),
        (Reply(503, b""), ["HTTP 503: Service Unavailable"]),
        (Reply(500, b"[]"), ["HTTP 500: Internal Server Error"]),
        (Reply(500, b'{"error_code":"x"}'), ["HTTP 500: Internal Server Error"]),
        (Reply(500, b"[" * 99999), ["HTTP 500: Internal Server Error"]),
        (Reply(500, b'{"msg":"a\\u001b[2Jb"}'), ["HTTP 500: a\\x1b[2Jb"]),
        (Reply(raw=b"HTTP/1.1 799 What\r\nContent-Length: 0\r\n\r\n"), ["HTTP 799: What"]),
    ],
    ids=str,
)
def test_any_status_of_an_error_is_told(reply: Reply, said: list[str], api: Api, call: Run) -> None:
    api.replies += [reply]
    told = call("endpoints", "get", EP)
    assert (told.code, told.out, told.errors) == (1, "", said)


def test_a_change_of_nothing_is_refused_by_the_api(api: Api, call: Run) -> None:
    api.replies += [lambda seen: Reply.error(400, f"nothing in {seen.body.decode()}", "ERR_NGROK_18004")]
    assert call("endpoints", "update", EP).errors == ["HTTP 400: nothing in {} [ERR_NGROK_18004]"]


def test_a_redirect_is_not_followed_for_the_key_would_go_with_it(api: Api, call: Run) -> None:
    for status in (301, 302, 307, 308):
        api.replies += [Reply(status, b"", {"Location": f"{api.url}/elsewhere"})]
        told = call("endpoints", "list")
        assert told.code == 1
        assert told.errors[0].endswith(f"; it leads to {api.url}/elsewhere, where the key is not sent")
    assert {seen.path for seen in api.seen} == {"/endpoints"}


# === answers that are none


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(200, b"<html>"), "The server says 200 OK, but what it sent is no JSON."),
        (Reply(200, b""), "The server says 200 OK, but what it sent is no JSON."),
        (Reply(200, b'{"a": "\xff"}'), "The server says 200 OK, but what it sent is no JSON."),
        (Reply(201, b'{"a": 1'), "The server says 201 Created, but what it sent is no JSON."),
        (Reply(raw=b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"a":'), "broke off"),
        (Reply(raw=b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{"a":'), "broke off"),
        (Reply(raw=b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n"), "broke off"),
        (Reply(raw=b""), "ended the connection without an answer."),
        (Reply(raw=b"SSH-2.0-OpenSSH_9\r\n\r\n"), "does not speak HTTP."),
        (Reply(raw=b"HTTP/1.1 nothing\r\n\r\n"), "does not speak HTTP."),
    ],
    ids=str,
)
@pytest.mark.parametrize("argv", ["endpoints list", "vaults create --name n"])
def test_what_is_no_answer_of_the_api_is_told(argv: str, reply: Reply, said: str, api: Api, call: Run) -> None:
    api.replies += [reply]
    told = call(*argv.split())
    assert (told.code, told.out) == (1, "")
    assert len(told.errors) == 1
    assert said in told.errors[0]
    lost = reply.raw is not None and "create" in argv
    assert ("Whether it was done is not known." in told.errors[0]) == lost


def test_an_answer_in_chunks_is_whole(api: Api, call: Run) -> None:
    raw = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{"a\r\n4\r\n":1}\r\n0\r\n\r\n'
    api.replies += [Reply(raw=raw), Reply(raw=b'HTTP/1.0 200 OK\r\n\r\n{"a":1}')]
    for _ in range(2):
        assert call("endpoints", "list").out == '{\n  "a": 1\n}\n'


def test_an_answer_that_is_too_large_is_not_taken(api: Api, call: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "LARGEST", 1 << 20)
    api.replies += [Reply(200, b'"' + b"a" * (1 << 20) + b'"')]
    assert call("endpoints", "list").errors == ["The answer is larger than 1 MiB."]


# === streams


def environment() -> dict[str, str]:
    """What was written may wait in a buffer, as it usually does."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


@pytest.mark.parametrize("count", [1, 9999])
@pytest.mark.parametrize("descriptor", [1, 2])
def test_output_nobody_reads_is_no_traceback(descriptor: int, count: int, api: Api, home: Path) -> None:
    api.replies += [Reply(200, json.dumps({"a": ["x" * 100] * count}).encode())]
    argv = [*portway(), "api", "endpoints", "list", "--api-key", KEY, "--api-url", api.url]
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as gone:
        streams = {"stdout": gone, "stderr": subprocess.PIPE} if descriptor == 1 else {"stderr": gone}
        done = subprocess.run(argv, **streams, text=True, env=environment())
    assert done.returncode == 1
    assert descriptor == 2 or done.stderr == "200 OK\n"


def test_the_first_lines_of_a_long_answer(api: Api, home: Path) -> None:
    api.replies += [Reply(200, json.dumps({"a": ["x" * 100] * 9999}).encode())]
    line = f"{portway()[0]} api endpoints list --api-key {KEY} --api-url {api.url} | head -1"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, env=environment())
    assert (done.stdout, done.stderr) == ("{\n", "200 OK\n")


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_is_one_nobody_reads(closed: str, api: Api, home: Path) -> None:
    line = f"{portway()[0]} api endpoints list --api-key {KEY} --api-url {api.url} {closed}"
    done = subprocess.run(["sh", "-c", line], capture_output=True, text=True, env=environment())
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


def test_a_disk_that_is_full_is_told(api: Api, home: Path) -> None:
    argv = [*portway(), "api", "endpoints", "list", "--api-key", KEY, "--api-url", api.url]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(argv, stdout=full, stderr=subprocess.PIPE, text=True, env=environment())
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_ends_it_quietly(api: Api, call: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("portway.api.client.Client.send", interrupted)
    assert call("endpoints", "list").code == 130
