"""Command lines of the API: flags in any place, what they hold, help, completion, and what makes no sense (§1, §2)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from api.told import Run
from harness.api import KEY, Api, Reply, identifier
from portway.api.request import listed
from portway.cli.candidates import candidates

EP = identifier("ep")
POLICY = "on_http_request:\n  - actions:\n      - type: deny\n"


# === where flags may stand


@pytest.mark.parametrize(
    "argv",
    [
        ("api", "reserved-domains", "list", "--limit", "5"),
        ("api", "reserved-domains", "--limit", "5", "list"),
        ("api", "--limit=5", "reserved-domains", "list"),
        ("api", "--limit", "5", "reserved-domains", "list"),
        ("--log", "false", "api", "--log-level=info", "reserved-domains", "list", "--limit", "5"),
    ],
    ids=" ".join,
)
def test_flags_may_stand_anywhere(argv: tuple[str, ...], api: Api, program: Run) -> None:
    told = program(*argv, env={"PORTWAY_API_URL": api.url, "NGROK_API_KEY": KEY})
    assert (told.code, told.err) == (0, "200 OK\n")
    assert api.last.target == "/reserved_domains?limit=5"


@pytest.mark.parametrize(
    "argv",
    [
        ("--config", "F", "api", "--api-key", KEY, "reserved-domains", "list"),
        ("--api-key", KEY, "--config=F", "api", "reserved-domains", "list"),
        ("api", "reserved-domains", "--api-key", KEY, "list", "--config", "F"),
        (
            "api",
            "reserved-domains",
            "list",
            f"--api-key={KEY}",
            "--config",
            "F",
            "--authtoken",
            "x",
            "--metadata-of-none",
        ),
    ],
    ids=("as pyngrok does", "all in front", "between", "behind"),
)
def test_access_may_be_told_anywhere(
    argv: tuple[str, ...], api: Api, program: Run, ngrok: Path, tmp_path: Path
) -> None:
    file = tmp_path / "f.yml"
    file.write_text(f"version: 3\nagent: {{api_url: '{api.url}'}}\n")
    words = [word.replace("F", str(file)) if word in ("F", "--config=F") else word for word in argv]
    words = [word for word in words if word != "--metadata-of-none"]
    told = program(*words, program=str(ngrok))
    assert (told.code, told.err) == (0, "200 OK\n")
    assert api.last.path == "/reserved_domains"


def test_what_begins_with_a_hyphen_is_a_value_behind_a_flag(api: Api, call: Run) -> None:
    assert call("ip-policies", "create", "--description", "--help").code == 0
    assert api.last.json == {"description": "--help"}
    assert call("endpoints", "get", "--", EP).code == 0


# === what is sent


def test_only_what_was_given_is_sent(api: Api, call: Run) -> None:
    assert call("endpoints", "update", EP).code == 0
    assert api.last.json == {}
    assert call("endpoints", "update", EP, "--description", "").code == 0
    assert api.last.json == {"description": ""}
    assert call("credentials", "update", identifier("cr"), "--acl", "").code == 0
    assert api.last.json == {"acl": []}


@pytest.mark.parametrize("action", ["restart", "stop", "update"])
def test_an_order_to_an_agent_has_an_empty_body(action: str, api: Api, call: Run) -> None:
    told = call("tunnel-sessions", action, identifier("ts"))
    assert (told.code, told.out, told.err) == (0, "", "204 No Content\n")
    assert (api.last.method, api.last.json) == ("POST", {})


def test_nested_fields_are_parted_by_dots(api: Api, call: Run) -> None:
    flags = (
        "--certificate-management-policy.private-key-type ecdsa --certificate-management-policy.authority letsencrypt"
    )
    assert call("reserved-domains", "create", "--domain", "a.example.com", *flags.split()).code == 0
    policy = {"private_key_type": "ecdsa", "authority": "letsencrypt"}
    assert api.last.json == {"domain": "a.example.com", "certificate_management_policy": policy}
    assert call("kubernetes-operators", "create", "--binding.csr", "PEM", "--deployment.cluster-name", "c").code == 0
    assert api.last.json == {"binding": {"csr": "PEM"}, "deployment": {"cluster_name": "c"}}


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (["a", "b"], ["a", "b"]),
        (["a,b", "c"], ["a", "b", "c"]),
        (["a, b ,,"], ["a", "b"]),
        (['"a,b",c'], ["a,b", "c"]),
        (['e.url in ["a","b"]', "true"], ['e.url in ["a","b"]', "true"]),
        (['f("a,b"),g'], ['f("a,b")', "g"]),
        (["x == 'it,b", "a[,b"], ["x == 'it", "b", "a[", "b"]),
        (["[::1]:80,b"], ["[::1]:80", "b"]),
        ([""], []),
    ],
    ids=str,
)
def test_lists_are_repeated_and_parted_by_commas(given: list[str], read: list[str]) -> None:
    assert listed(given) == read


def test_lists_are_sent_as_lists(api: Api, call: Run) -> None:
    assert call("credentials", "create", "--acl", "bind:a.example.com", "--acl", "bind:b=c,bind:*").code == 0
    assert api.last.json == {"acl": ["bind:a.example.com", "bind:b=c", "bind:*"]}
    assert call("reserved-domains", "create", "--domain", "a.b", "--resolves-to", "us,eu").code == 0
    assert api.last.json["resolves_to"] == [{"value": "us"}, {"value": "eu"}]


def test_maps_are_repeated_and_commas_in_them_stay(api: Api, call: Run) -> None:
    argv = ("--public-key", "k", "--ssh-certificate-authority-id", identifier("sshca"))
    options = ("--extensions", "permit-pty=", "--critical-options", "source-address=10.0.0.0/8,192.168.0.0/16")
    assert call("ssh-user-certificates", "create", *argv, *options).code == 0
    assert api.last.json["extensions"] == {"permit-pty": ""}
    assert api.last.json["critical_options"] == {"source-address": "10.0.0.0/8,192.168.0.0/16"}


@pytest.mark.parametrize(
    ("flags", "sent"),
    [
        (["--enforced"], True),
        (["--enforced=true"], True),
        (["--enforced=1"], True),
        (["--enforced=false"], False),
        (["--enforced=FALSE"], False),
        (["--enforced", "--enforced=false"], False),
    ],
    ids=str,
)
def test_switches_take_a_value_behind_an_equals_sign(flags: list[str], sent: bool, api: Api, call: Run) -> None:
    assert call("ip-restrictions", "update", identifier("ipx"), *flags).code == 0
    assert api.last.json == {"enforced": sent}


def test_a_text_with_lines_in_a_flag_is_sent_as_it_is(api: Api, call: Run) -> None:
    """`--traffic-policy "$(cat f.yml)" --pooling-enabled=true`, and no type: it is a cloud endpoint (§7)."""
    url = "https://shop.example.com"
    told = call("endpoints", "create", "--url", url, "--traffic-policy", POLICY, "--pooling-enabled=true")
    assert (told.code, told.err) == (0, "201 Created\n")
    assert api.last.json == {"url": url, "traffic_policy": POLICY, "pooling_enabled": True}


def test_a_file_is_sent_byte_for_byte(api: Api, call: Run, tmp_path: Path) -> None:
    file = tmp_path / "f.yml"
    file.write_bytes(b"on_http_request: []\r\n# \xc3\xa4\r\n")
    url = "https://x.internal"
    assert (
        call("endpoints", "create", "--bindings", "internal", "--url", url, "--traffic-policy-file", str(file)).code
        == 0
    )
    assert api.last.json == {"url": url, "bindings": ["internal"], "traffic_policy": "on_http_request: []\r\n# ä\r\n"}


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(404, b"gone"), "Not Found"),
        (Reply(200, b"\xff\xfe"), "is no text"),
        (Reply(200, b"a" * ((1 << 20) + 1)), "is too large"),
        (Reply(raw=b"SSH-2.0\r\n\r\n"), "cannot fetch"),
        (Reply(raw=b""), "cannot fetch"),
    ],
    ids=("not there", "no text", "large", "no HTTP", "nothing"),
)
def test_a_policy_that_cannot_be_fetched_is_told(
    reply: Reply, said: str, api: Api, call: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "answer", lambda seen: reply)
    told = call("endpoints", "create", "--url", "https://a.test", "--traffic-policy-url", f"{api.url}/policy")
    assert told.code == 1
    assert told.errors[0].startswith('invalid argument for "--traffic-policy-url" flag: ')
    assert said in told.errors[0]


def test_at_signs_are_not_special(api: Api, call: Run) -> None:
    assert call("ip-policies", "create", "--description", "@/etc/passwd").code == 0
    assert api.last.json == {"description": "@/etc/passwd"}


def test_a_vault_gets_a_secret(api: Api, call: Run) -> None:
    assert call("vaults", "create", "--name", "n", "--description", "d").code == 0
    vault = identifier("vault")
    assert call("secrets", "create", "--name", "n", "--value", "v", "--vault-id", vault).code == 0
    assert api.last.json == {"name": "n", "value": "v", "vault_id": vault}


def test_modules_take_their_flags_with_the_name_of_the_wrapping_too(api: Api, call: Run) -> None:
    route = ("edge-modules", "https-edge-route-oauth", "replace", identifier("edghts"), identifier("edghtsrt"))
    for flags in (
        ("--enabled", "--provider.google.scopes", "a"),
        ("--module.enabled", "--module.provider.google.scopes=a"),
    ):
        assert call(*route, *flags).code == 0
        assert api.last.json == {"enabled": True, "provider": {"google": {"scopes": ["a"]}}}
    assert call(*route, "--module.enabled=false").code == 0
    assert api.last.json == {"enabled": False}


def test_ids_cannot_lead_to_another_path(api: Api, call: Run) -> None:
    told = call("endpoints", "delete", f"../vaults/{EP}?x=1#y")
    assert told.code == 1
    assert api.last.target == f"/endpoints/..%2Fvaults%2F{EP}%3Fx%3D1%23y"
    count = len(api.seen)
    for strange in ("", ".", "..", " "):
        told = call("endpoints", "delete", strange)
        assert (told.code, told.errors[0]) == (1, f"{strange!r} is no id")
    assert len(api.seen) == count


def test_a_deprecated_flag_works_and_says_so(api: Api, call: Run) -> None:
    told = call("ip-policies", "create", "--action", "allow")
    assert told.code == 0
    assert told.err.startswith("Flag --action has been deprecated, give it to the rules")
    assert told.err.endswith("\n201 Created\n")
    assert api.last.json == {"action": "allow"}
    assert "--action" not in call("ip-policies", "create", "--help").out


def test_what_every_command_takes_is_no_field(api: Api, program: Run) -> None:
    env = {"PORTWAY_API_URL": api.url, "PORTWAY_API_KEY": KEY}
    told = program("--metadata", "m", "--connect-url", "e.test:1", "api", "endpoints", "update", EP, env=env)
    assert (told.code, api.last.json) == (0, {})
    told = program("api", "endpoints", "update", EP, "--metadata", "m", "--authtoken", "t", env=env)
    assert (told.code, api.last.json) == (0, {"metadata": "m"})


# === what makes no sense


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ("endponts list", 'unknown command "endponts" for "portway api" (did you mean endpoints?)'),
        ("endpoints lst", 'unknown command "lst" for "portway api endpoints" (did you mean list?)'),
        ("edges htps list", 'unknown command "htps" for "portway api edges" (did you mean https?)'),
        ("bogus", 'unknown command "bogus" for "portway api"'),
        ("endpoints list --limt 5", "unknown flag: --limt (did you mean --limit?)"),
        ("endpoints list --url x", "unknown flag: --url (did you mean --api-url?)"),
        ("bot-users create --metadata x", "unknown flag: --metadata"),
        ("endpoints list -limit 5", "unknown flag: -limit"),
        ("endpoints --bogus", "unknown flag: --bogus"),
        ("--bogus", "unknown flag: --bogus"),
        ("endpoints get", "ID is missing"),
        ("edges https-routes get edghts_x", "ID is missing"),
        ("endpoints get a b", "unexpected argument: b"),
        ("endpoints list a", "unexpected argument: a"),
        ("event-sources create --type t", "--subscription-id is missing"),
        ("event-sources list", "SUBSCRIPTION_ID is missing"),
        ("endpoints list --limit", "flag needs an argument: --limit"),
        ("endpoints list --limit many", 'invalid argument "many" for "--limit" flag: expected a whole number'),
        ("endpoints list --limit 1.5", 'invalid argument "1.5" for "--limit" flag: expected a whole number'),
        ("bot-users create --active=maybe", 'invalid argument "maybe" for "--active" flag: expected true or false'),
        ("backends weighted create --backends a=b", 'invalid argument for "--backends" flag: expected a whole number'),
        ("backends tunnel-group create --labels a", 'invalid argument for "--labels" flag: expected KEY=VALUE'),
        ("backends tunnel-group create --labels =a", 'invalid argument for "--labels" flag: expected KEY=VALUE'),
        (
            "endpoints create --traffic-policy-file /nowhere/f.yml",
            'invalid argument for "--traffic-policy-file" flag: cannot read /nowhere/f.yml: No such file or directory',
        ),
        (
            "endpoints create --traffic-policy a --traffic-policy-file b",
            "--traffic-policy and --traffic-policy-file exclude each other.",
        ),
        (
            "endpoints create --traffic-policy-url http://a --traffic-policy-file b",
            "--traffic-policy-url and --traffic-policy-file exclude each other.",
        ),
        ("secrets create --value-file a --value b", "--value-file and --value exclude each other."),
        (
            "endpoints create --traffic-policy-url ftp://a",
            "invalid argument for \"--traffic-policy-url\" flag: 'ftp://a' is no http or https URL",
        ),
        (
            "endpoints list --log-level loud",
            'invalid argument "loud" for "--log-level" flag: expected debug, info, warn, error, crit',
        ),
    ],
)
def test_a_wrong_command_line_is_told_and_nothing_is_sent(argv: str, said: str, api: Api, call: Run) -> None:
    told = call(*argv.split())
    assert (told.code, told.out, told.errors[0]) == (1, "", said)
    assert api.seen == []


def test_who_leaves_the_resource_out_is_told_where_it_goes(call: Run) -> None:
    told = call("create", "--type", "cloud")
    assert told.errors[:2] == [
        'unknown command "create" for "portway api"',
        "What of comes first, as in `portway api endpoints create`.",
    ]


def test_numbers_that_are_none_and_files_that_are_no_text_are_refused(call: Run, api: Api, tmp_path: Path) -> None:
    breaker = ("edge-modules", "https-edge-route-circuit-breaker", "replace", identifier("a"), identifier("b"))
    for text in ("nan", "inf", "x"):
        told = call(*breaker, "--error-threshold-percentage", text)
        assert told.errors[0].endswith('for "--error-threshold-percentage" flag: expected a number')
    (tmp_path / "f").write_bytes(b"\xff\xfe")
    told = call("secrets", "create", "--value-file", str(tmp_path / "f"))
    assert told.errors[0].endswith("is no text file")
    with (tmp_path / "f").open("wb") as file:
        file.truncate(2 << 20)
    assert call("secrets", "create", "--value-file", str(tmp_path / "f")).errors[0].endswith("is too large")
    assert api.seen == []


def test_bytes_that_are_no_text_are_refused(program: Run, api: Api) -> None:
    env = {"PORTWAY_API_URL": api.url, "PORTWAY_API_KEY": KEY, "LC_ALL": "C.UTF-8"}
    told = program("api", "ip-policies", "create", "--description", os.fsdecode(b"a\xffb"), env=env)
    assert (told.code, told.errors[0]) == (1, "What was typed is no UTF-8.")
    assert api.seen == []


# === help


def test_the_api_lists_its_resources(call: Run, program: Run) -> None:
    told = program("api")
    assert (told.code, told.err) == (0, "")
    assert told.out.index("Examples:\n  portway config add-api-url https://api.example.com") < told.out.index("Usage:")
    assert "\n  endpoints  " in told.out
    assert "\n  edge-modules  " in told.out
    assert told.out == program("api", "--help").out == program("help", "api").out
    assert "\n  api  " in program().out


def test_a_resource_lists_its_commands_with_an_example_first(program: Run) -> None:
    told = program("api", "endpoints")
    assert (told.code, told.err) == (0, "")
    assert told.out.index("Examples:\n  portway api endpoints list\n") < told.out.index(
        "Usage:\n  portway api endpoints"
    )
    for verb in ("create", "get", "list", "update", "delete"):
        assert f"\n  {verb}  " in told.out
    assert told.out == program("api", "endpoints", "-h").out == program("help", "api", "endpoints").out
    assert "\n  https-routes  " in program("api", "edges").out


def test_a_command_tells_its_flags(program: Run) -> None:
    told = program("api", "endpoints", "create", "--help")
    assert (told.code, told.err) == (0, "")
    assert told.out.startswith("Create a cloud endpoint.\n\nExamples:\n  portway api endpoints create --url")
    assert "Usage:\n  portway api endpoints create [FLAGS]\n" in told.out
    for flag in ("--url TEXT", "--traffic-policy-file FILE", "--pooling-enabled ", "--api-key KEY", "--config FILE"):
        assert f"  {flag}" in told.out
    assert "--authtoken" not in told.out
    assert told.out == program("help", "api", "endpoints", "create").out
    assert (
        "Usage:\n  portway api edges https-routes get EDGE_ID ID"
        in program("api", "edges", "https-routes", "get", "-h").out
    )


def test_under_the_name_ngrok_it_goes_by_that_name(program: Run, ngrok: Path) -> None:
    help_of = program("api", "endpoints", "create", "--help", program=str(ngrok)).out
    assert "  ngrok api endpoints create" in help_of
    assert "portway" not in help_of
    assert program("api", "bogus", program=str(ngrok)).errors[-1] == "See `ngrok api --help`."
    told = program("api", "endpoints", "list", program=str(ngrok))
    assert "`ngrok config add-api-key KEY`" in told.errors[0]
    assert "`ngrok config add-api-url URL`" in told.errors[1]


@pytest.mark.parametrize("columns", ["34", "59", "80", "200"])
def test_help_is_no_wider_than_the_terminal(columns: str, call: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    for argv in ((), ("endpoints",), ("event-destinations", "create", "-h")):
        lines = call(*argv).out.splitlines()
        assert [one for one in lines if len(one) > int(columns) and " " in one.strip().removeprefix("--").strip()] == []


# === completion


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("api en", ["endpoints"]),
        ("api --api-key K reserved-d", ["reserved-domains"]),
        ("help api end", ["endpoints"]),
        ("help api endpoints cr", ["create"]),
        ("api endpoints cr", ["create"]),
        ("api edges h", ["https", "https-routes"]),
        ("api edges https-routes c", ["create"]),
        ("api endpoints create --tr", ["--traffic-policy", "--traffic-policy-file", "--traffic-policy-url"]),
        ("api endpoints create --url x --ur", ["--url"]),
        ("api endpoints create --api", ["--api-key", "--api-url"]),
        ("api --api", ["--api-key", "--api-url"]),
        ("api endpoints create --pooling-enabled=", ["--pooling-enabled=true", "--pooling-enabled=false"]),
        ("api ip-restrictions create --type ", ["dashboard", "api", "agent", "endpoints"]),
        ("api endpoints list --log ", ["stdout", "stderr", "false"]),
        ("api ip-policies create --act", []),
        ("api reserved-domains delete-http", []),
        ("api endpoints get ", []),
        ("api bogus ", []),
        ("ap", ["api"]),
    ],
)
def test_what_may_come_next_is_offered(typed: str, offered: list[str]) -> None:
    assert [one for one, _ in candidates(typed.split(" "))] == offered


def test_an_answer_to_a_shell_needs_no_client(home: Path) -> None:
    code = "import sys; from portway.__main__ import main; main(); print(sorted(sys.modules), file=sys.stderr)"
    for typed in ("api", "en"), ("api", "endpoints", "create", "--u"):
        argv = [sys.executable, "-c", code, "__complete", "--", *typed]
        told = subprocess.run(argv, capture_output=True, text=True, check=True)
        assert told.stdout.split("\t")[0] in ("endpoints", "--url")
        for heavy in ("typer", "yaml", "json", "urllib.request", "ssl", "dataclasses", "portway.cli.app"):
            assert f"'{heavy}'" not in told.stderr


def test_help_needs_no_client(home: Path) -> None:
    code = "import sys; from portway.__main__ import main; main(); print(sorted(sys.modules), file=sys.stderr)"
    argv = [sys.executable, "-c", code, "api", "endpoints", "create", "--help"]
    told = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert "portway.cli.api_help" in told.stderr
    assert not [heavy for heavy in ("typer", "yaml", "ssl", "urllib.request") if f"'{heavy}'" in told.stderr]


def test_other_commands_do_not_load_the_table(home: Path) -> None:
    code = "import sys; from portway.__main__ import main; main(); print(sorted(sys.modules), file=sys.stderr)"
    for argv in ((), ("http", "--help"), ("help", "config"), ("config", "check", "--config", "/nowhere")):
        told = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True)
        assert "'portway.cli.commands'" in told.stderr
        assert "portway.api" not in told.stderr, argv


def test_the_client_needs_no_framework(home: Path, api: Api) -> None:
    code = "import sys; from portway.__main__ import main; main(); print(sorted(sys.modules), file=sys.stderr)"
    argv = [sys.executable, "-c", code, "api", "endpoints", "list", "--api-key", KEY, "--api-url", api.url]
    told = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert told.stderr.startswith("200 OK\n")
    assert "'typer" not in told.stderr
