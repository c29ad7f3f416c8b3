"""Whom to ask, and with which key: flags, variables, files, in this order; and what is never done with a key (§2)."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from api.told import Run
from harness.api import KEY, Api, Reply
from portway.api.client import checked_url

OTHER = "2bXn5QyRk1VdLw8sZt4UaGc7Hm3_9notThisOne0000000000"


def configured(home: Path, text: str, name: str = "portway") -> Path:
    path = home / "config" / name / f"{name}.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


V3 = "version: 3\nagent:\n  api_key: {key}\n  api_url: {url}\n"
V2 = "version: 2\napi_key: {key}\napi_url: {url}\n"


@pytest.mark.parametrize("form", [V3, V2], ids=("version 3", "version 2"))
def test_key_and_address_are_in_the_file(form: str, api: Api, program: Run, home: Path) -> None:
    configured(home, form.format(key=KEY, url=api.url))
    assert program("config", "check").code == 0
    told = program("api", "endpoints", "list")
    assert (told.code, told.err) == (0, "200 OK\n")
    assert api.last.headers["authorization"] == f"Bearer {KEY}"


def test_key_and_address_that_were_added_are_used(api: Api, program: Run, home: Path) -> None:
    assert program("config", "add-api-key", KEY).code == 0
    told = program("config", "add-api-url", f"{api.url}/")
    path = home / "config" / "portway" / "portway.yml"
    assert told.out == f"API URL saved to configuration file: {path}\n"
    assert path.read_text() == f'version: "3"\nagent:\n    api_url: {api.url}\n    api_key: {KEY}\n'
    assert program("api", "credentials", "list").code == 0


@pytest.mark.parametrize("url", ["api.example.com", "http://api.example.com", "https://u:p@a.test", ""])
def test_an_address_that_cannot_be_used_is_not_saved(url: str, program: Run, home: Path) -> None:
    assert program("config", "add-api-url", url).code == 1
    assert not (home / "config").exists()


def test_a_flag_wins_over_a_variable_and_a_variable_over_a_file(api: Api, program: Run, home: Path) -> None:
    configured(home, V3.format(key="of-the-file", url="http://localhost:1"))
    ours = {"PORTWAY_API_URL": api.url, "PORTWAY_API_KEY": "ours", "NGROK_API_KEY": "theirs"}
    sent = []
    for env, flags in (
        ({"PORTWAY_API_URL": api.url}, ()),
        ({**ours, "PORTWAY_API_KEY": ""}, ()),
        (ours, ()),
        (ours, ("--api-key", "of-the-flag")),
        ({**ours, "PORTWAY_API_URL": "http://localhost:1"}, ("--api-url", api.url, "--api-key", "both")),
        (ours, ("--api-key", "")),
    ):
        program("api", "endpoints", "list", *flags, env=env)
        sent.append(api.last.headers["authorization"])
    keys = ("of-the-file", "theirs", "ours", "of-the-flag", "both", "ours")
    assert sent == [f"Bearer {key}" for key in keys]
    assert len(api.seen) == len(sent)


def test_several_files_are_merged(api: Api, program: Run, tmp_path: Path) -> None:
    for name, text in (("a", f"api_key: {OTHER}, api_url: {api.url}"), ("b", f"api_key: {KEY}")):
        (tmp_path / name).write_text(f"version: 3\nagent: {{{text}}}\n")
    told = program("api", "endpoints", "list", "--config", f"{tmp_path / 'a'}", "--config", f"{tmp_path / 'b'}")
    assert told.code == 0
    assert program("api", "endpoints", "list", "--config", f"{tmp_path / 'b'},{tmp_path / 'a'}").code == 1
    assert api.last.headers["authorization"] == f"Bearer {OTHER}"


def test_without_a_key_nothing_is_sent(api: Api, program: Run, home: Path) -> None:
    configured(home, "version: 3\nagent: {authtoken: tok}\n")
    env = {"PORTWAY_API_URL": api.url, "NGROK_AUTHTOKEN": "tok"}
    told = program("api", "endpoints", "list", "--authtoken", "tok", env=env)
    assert (told.code, told.out) == (1, "")
    (error,) = told.errors
    assert error.startswith(
        "There is no API key: save one with `portway config add-api-key KEY`, or give it as --api-key"
    )
    assert api.seen == []


def test_without_an_address_nothing_is_sent_and_it_is_told_how_to_save_it(program: Run, home: Path) -> None:
    told = program("api", "endpoints", "list", "--api-key", KEY)
    assert (told.code, told.out) == (1, "")
    (error,) = told.errors
    assert error.startswith("It is not known where the API is: save its address with `portway config add-api-url URL`")
    assert len(program("api", "endpoints", "list").errors) == 2


def test_a_key_for_another_service_is_not_sent_elsewhere(api: Api, program: Run, home: Path, ngrok: Path) -> None:
    """A file of another program, found where there is none of ours; under its name it is ours."""
    configured(home, f"version: 3\nagent: {{api_key: {KEY}}}\n", "ngrok")
    env = {"PORTWAY_API_URL": api.url}
    told = program("api", "endpoints", "list", env=env)
    assert told.code == 1
    assert told.err.startswith("Warning: the api_key in ")
    assert api.seen == []
    assert program("api", "endpoints", "list", env=env, program=str(ngrok)).code == 0


def test_a_file_with_a_mistake_is_told(program: Run, home: Path) -> None:
    configured(home, "version: 3\nagent: {api_ulr: x}\n")
    told = program("api", "endpoints", "list", "--api-key", KEY)
    assert told.code == 1
    assert "api_url" in told.err
    assert program("api", "endpoints", "list", "--config", "/nowhere").code == 1
    configured(home, "version: 3\nagent: {api_url: 'ftp://x'}\n")
    assert "api_url" in program("config", "check").err


@pytest.mark.parametrize("key", ["a b", "a\nX-Evil: 1", "ключ", "a\x7f"])
def test_a_key_that_is_none_is_not_sent_and_not_shown(key: str, api: Api, call: Run) -> None:
    told = call("endpoints", "list", key=key)
    assert (told.code, told.errors) == (1, ["The API key is none: it has blanks, or signs that no key has."])
    assert api.seen == []


@pytest.mark.parametrize(
    "url",
    [
        *("api.example.com", "ftp://api.example.com", "https://", "https://a b", "https://u:hunter2@localhost"),
        *("https://a.test?key=hunter2", "https://a.test#x", "https://a.test:0", "https://a.test:port", "https://[::1"),
        *("https://a_b..c", "https://ä" + "b" * 70),
    ],
)
def test_an_address_that_is_none_is_refused_and_not_repeated(url: str, call: Run) -> None:
    told = call("endpoints", "list", url=url)
    assert told.errors == ["The address of the API is none: write a URL such as https://api.example.com."]
    assert "hunter2" not in told.err


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("HTTPS://API.Example.com:8443/v2/", "https://api.example.com:8443/v2"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        (" https://192.0.2.1 ", "https://192.0.2.1"),
    ],
)
def test_an_address_has_one_spelling(written: str, read: str) -> None:
    assert checked_url(written) == read


@pytest.mark.parametrize("url", ["http://api.example.com", "http://192.0.2.1:80", "http://localhost.example.com"])
def test_a_key_does_not_travel_in_the_clear(url: str, call: Run) -> None:
    told = call("endpoints", "list", url=url)
    assert told.code == 1
    assert "for everybody to read: only https:// leads to other machines" in told.errors[0]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST"])
def test_this_machine_may_be_asked_without_tls(host: str, api: Api, call: Run) -> None:
    assert call("endpoints", "list", url=f"http://{host}:{api.port}").code == 0


def test_an_address_may_have_a_path_and_a_slash_behind_it(api: Api, call: Run) -> None:
    assert call("endpoints", "list", url=f"{api.url}/").code == 0
    assert api.last.target == "/endpoints"
    call("endpoints", "list", url=f"{api.url}/base/")
    assert api.last.target == "/base/endpoints"


# === secrets


def test_a_key_in_the_place_of_something_else_is_in_no_error(program: Run) -> None:
    swallowed = f"endpoints list --limit --api-key {KEY}"
    for line in (swallowed, f"endpoints list x --api-key={KEY} --limit=--api-key={KEY}"):
        told = program("api", *line.split())
        assert told.code == 1
        assert told.errors[0].startswith("unexpected argument: ")
        assert KEY not in told.err


def test_the_key_is_in_no_error_even_if_the_server_repeats_it(api: Api, call: Run) -> None:
    api.replies += [Reply.error(400, f"The key {KEY} is not for this, nor is that of user 7.", "ERR_NGROK_206")]
    told = call("endpoints", "list")
    assert told.errors[0] == "HTTP 400: The key *** is not for this, nor is that of user 7. [ERR_NGROK_206]"


def test_secrets_of_a_body_are_in_no_error_even_if_the_server_repeats_them(api: Api, call: Run, tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("-----BEGIN PRIVATE KEY-----\nMIIsecretline\n-----END PRIVATE KEY-----\n")
    pem = (tmp_path / "key.pem").read_text()
    for argv, hidden in (
        (("secrets", "create", "--name", "n", "--value", "hunter2!"), "hunter2!"),
        (("secrets", "create", "--name", "n", "--value-file", str(tmp_path / "key.pem")), "MIIsecretline"),
        (("tls-certificates", "create", "--certificate-pem", "c", "--private-key-pem", pem), "MIIsecretline"),
        (("event-destinations", "create", "--target.datadog.api-key", "hunter2!"), "hunter2!"),
        (
            (
                "event-destinations",
                "create",
                "--target.kinesis.auth.creds.aws-secret-access-key",
                "hunter2!",
                "--target.kinesis.auth.creds.aws-access-key-id",
                "i",
            ),
            "hunter2!",
        ),
    ):
        api.replies += [Reply.error(400, f"Bad value '{hidden}'.", "ERR_NGROK_215")]
        told = call(*argv)
        assert told.errors[0] == "HTTP 400: Bad value '***'. [ERR_NGROK_215]"


@pytest.mark.parametrize("form", ["term", "logfmt", "json"])
def test_a_record_of_the_request_has_no_secret(form: str, api: Api, call: Run, tmp_path: Path) -> None:
    log = tmp_path / "log"
    flags = ("--log", str(log), "--log-format", form)
    assert call("secrets", "create", "--name", "n", "--value", "hunter2", *flags).code == 0
    assert call("endpoints", "list", *flags, url="http://localhost:1").code == 1
    done, failed = log.read_text().splitlines()
    assert "/vault_secrets" in done
    assert "201" in done
    assert "api request failed" in failed
    assert not [secret for secret in ("hunter2", KEY) if secret in log.read_text()]
    assert call("endpoints", "list", *flags, "--log-level", "error").code == 0
    assert len(log.read_text().splitlines()) == 2


def test_records_are_off_unless_asked_for(api: Api, program: Run, home: Path) -> None:
    log = home / "agent.log"
    configured(home, f"version: 3\nagent: {{api_key: {KEY}, api_url: '{api.url}', log: {log}, log_level: debug}}\n")
    told = program("api", "endpoints", "list")
    assert (told.code, told.err, log.exists()) == (0, "200 OK\n", False)
    told = program("api", "endpoints", "list", "--log", "stderr")
    assert told.out.startswith("{\n")
    assert len(told.err.splitlines()) == 2
    assert os.environ.get("PORTWAY_API_KEY") is None
