"""Every command of the API: which there are, what each may be given, and that the API knows its request (§5, §6)."""

from __future__ import annotations

import gzip
import json
import re
import runpy
import shlex
from pathlib import Path

import pytest

from api.told import Run
from harness import need
from harness.api import Api, Reply, Seen, document, identifier
from harness.need import ROOT
from portway.api import catalogue, words
from portway.api.catalogue import Command, Flag
from portway.api.table import COMMANDS

TOOL = runpy.run_path(str(ROOT / "tools" / "api_commands.py"))

AWS = "auth.creds.aws-access-key-id auth.creds.aws-secret-access-key auth.role.role-arn"
TARGETS = " ".join(
    [
        *(
            f"target.azure-logs-ingestion.{name}"
            for name in (
                *("client-id", "client-secret", "data-collection-rule-id", "data-collection-stream-name"),
                *("logs-ingestion-uri", "tenant-id"),
            )
        ),
        *(f"target.cloudwatch-logs.{name}" for name in f"{AWS} log-group-arn".split()),
        *(f"target.firehose.{name}" for name in f"{AWS} delivery-stream-arn".split()),
        *(f"target.kinesis.{name}" for name in f"{AWS} stream-arn".split()),
        *(f"target.datadog.{name}" for name in ("api-key", "ddsite", "ddtags", "service")),
        "target.debug.callback-url",
        "target.debug.log",
    ]
)
POLICY = "certificate-management-policy.authority certificate-management-policy.private-key-type"
DOMAIN = f"certificate-id {POLICY} description metadata region resolves-to"
DOMAIN += " http-endpoint-configuration-id https-endpoint-configuration-id"
OPERATOR = "binding.csr binding.endpoint-selectors binding.ingress-endpoint deployment.name deployment.version"
OPERATOR += " description enabled-features metadata region"
SECRET = "description metadata name value value-file"
ENDPOINT = "bindings description metadata pooling-enabled traffic-policy traffic-policy-file traffic-policy-url url"
CERTIFICATE = "description metadata principals public-key ssh-certificate-authority-id valid-after valid-until"
DESTINATION = f"description format metadata verify-with-test-event {TARGETS}"
COMMON = "description metadata"
PAGE = "before-id limit"
FILTER = f"{PAGE} filter"

# api-cli.md §5: resource, flags of create, of update (nothing: there is no such command), of list; other verbs.
TIER_1: dict[str, tuple[str | None, str | None, str, dict[str, str]]] = {
    "agent-ingresses": (f"description domain metadata {POLICY}", f"{COMMON} {POLICY}", FILTER, {}),
    "api-keys": ("description metadata owner-id owner-email", COMMON, FILTER, {}),
    "application-sessions": (None, None, PAGE, {}),
    "application-users": (None, None, PAGE, {}),
    "bot-users": ("active name", "active name", PAGE, {}),
    "certificate-authorities": ("ca-pem description metadata", COMMON, FILTER, {}),
    "credentials": (
        "acl description metadata owner-id owner-email scim-user-id precomputed-token",
        "acl description metadata",
        FILTER,
        {},
    ),
    "endpoints": (f"{ENDPOINT} type", ENDPOINT, FILTER, {}),
    "event-destinations": (DESTINATION, DESTINATION, FILTER, {"send-test-event": ""}),
    "event-subscriptions": (f"{COMMON} destination-ids", f"{COMMON} destination-ids", FILTER, {}),
    "ip-policies": (f"action {COMMON}", COMMON, FILTER, {}),
    "ip-policy-rules": ("action cidr description ip-policy-id metadata", "cidr description metadata", FILTER, {}),
    "ip-restrictions": (
        "description enforced ip-policy-ids metadata type",
        "description enforced ip-policy-ids metadata",
        FILTER,
        {},
    ),
    "kubernetes-operators": (
        f"{OPERATOR} deployment.cluster-name deployment.namespace",
        OPERATOR,
        PAGE,
        {"get-bound-endpoints": PAGE},
    ),
    "personal-access-tokens": ("description expires-at", "description", PAGE, {"revoke": ""}),
    "reserved-addrs": (
        f"{COMMON} region endpoint-configuration-id",
        f"{COMMON} endpoint-configuration-id",
        FILTER,
        {"delete-endpoint-config": ""},
    ),
    "reserved-domains": (
        f"{DOMAIN} domain name",
        DOMAIN,
        FILTER,
        {
            "delete-certificate": "",
            "delete-certificate-management-policy": "",
            "delete-http-endpoint-config": "",
            "delete-https-endpoint-config": "",
        },
    ),
    "secrets": (f"{SECRET} vault-id vault-name", SECRET, FILTER, {}),
    "service-users": ("active name", "active name", FILTER, {}),
    "ssh-certificate-authorities": (f"{COMMON} elliptic-curve key-size private-key-type", COMMON, FILTER, {}),
    "ssh-credentials": (
        "acl description metadata owner-id owner-email public-key scim-user-id",
        "acl description metadata",
        FILTER,
        {},
    ),
    "ssh-host-certificates": (CERTIFICATE, COMMON, PAGE, {}),
    "ssh-user-certificates": (f"{CERTIFICATE} critical-options extensions", COMMON, PAGE, {}),
    "tls-certificates": ("certificate-pem description metadata private-key-pem", COMMON, FILTER, {}),
    "vaults": (f"{COMMON} name", f"{COMMON} name", FILTER, {"get-secrets-by-vault": PAGE}),
}
# Those whose commands are not the usual ones.
ODD = {
    "event-sources create": "subscription-id type fields filter",
    "event-sources update": "subscription-id type fields filter",
    "event-sources get": "subscription-id type",
    "event-sources delete": "subscription-id type",
    "event-sources list": "",
    "root get": "",
    "root self": "",
    "tunnel-sessions get": "",
    "tunnel-sessions list": FILTER,
    "tunnel-sessions restart": "",
    "tunnel-sessions stop": "",
    "tunnel-sessions update": "version",
    "tunnels get": "",
    "tunnels list": PAGE,
}
# api-cli.md §6.
BACKENDS = ("failover", "http-response", "static-address", "tunnel-group", "weighted")
MODULES = (
    *(f"https-edge-{name}" for name in ("mutual-tls", "tls-termination")),
    *(
        f"https-edge-route-{name}"
        for name in (
            *("backend", "circuit-breaker", "compression", "ip-restriction", "oauth", "oidc", "request-headers"),
            *("response-headers", "saml", "traffic-policy", "user-agent-filter", "webhook-verification"),
            "websocket-tcp-converter",
        )
    ),
    *(f"tcp-edge-{name}" for name in ("backend", "ip-restriction", "traffic-policy")),
    *(f"tls-edge-{name}" for name in ("backend", "ip-restriction", "mutual-tls", "tls-termination", "traffic-policy")),
)


def tier_1() -> dict[str, str]:
    """Flags by command, as the specification lists them."""
    found = dict(ODD)
    for resource, (create, update, page, others) in TIER_1.items():
        verbs = {"create": create, "update": update, "list": page, "get": "", "delete": "", **others}
        found |= {f"{resource} {verb}": flags for verb, flags in verbs.items() if flags is not None}
    return found


def known(name: str) -> Command:
    command = catalogue.command(name)
    assert command
    return command


ALL = [known(name) for name in COMMANDS]


# === which there are


def test_the_table_is_what_the_document_makes() -> None:
    assert gzip.decompress(TOOL["TABLE"].read_bytes()).decode() == TOOL["table"](), "run `python tools/api_commands.py`"


@pytest.mark.slow
def test_the_document_is_what_is_published() -> None:
    """Asked for where the published documents are at hand: a checkout by itself does not have them."""
    folder = ROOT.parent / "shared" / "spec" / "openapi"
    if not folder.exists():
        need.lacking(f"the published documents ({folder})")
    made = runpy.run_path(str(ROOT / "tools" / "openapi.py"))
    assert made["DOCUMENT"].read_text() == made["text"](made["document"](folder)), (
        "run `python tools/openapi.py FOLDER`"
    )


def test_every_operation_of_the_document_has_a_command_and_no_two_the_same() -> None:
    there = {
        f"{method.upper()} {path}"
        for path, operations in document()["paths"].items()
        for method in operations
        if not path.startswith("/abuse_reports")
    }
    reached = [f"{command.method} {command.path}" for command in ALL]
    assert sorted(reached) == sorted(there)


@pytest.mark.parametrize(("name", "flags"), tier_1().items(), ids=tier_1())
def test_a_command_of_tier_1_has_the_flags_it_is_to_have(name: str, flags: str) -> None:
    assert sorted(flag.name for flag in known(name).flags) == sorted(flags.split())


def test_there_is_no_other_command_in_tier_1() -> None:
    assert {name for name in COMMANDS if name.count(" ") == 1} == set(tier_1())


def test_tier_2_has_backends_edges_and_modules() -> None:
    usual = ("create", "delete", "get", "list", "update")
    wanted = {f"backends {kind} {verb}" for kind in BACKENDS for verb in usual}
    wanted |= {f"edges {kind} {verb}" for kind in ("https", "tcp", "tls") for verb in usual}
    wanted |= {f"edges https-routes {verb}" for verb in usual if verb != "list"}
    wanted |= {f"edge-modules {module} {verb}" for module in MODULES for verb in ("get", "replace", "delete")}
    assert len(MODULES) == 23
    assert {name for name in COMMANDS if name.count(" ") == 2} == wanted


def test_words_are_said_about_every_command_and_flag_and_no_other() -> None:
    used = set()
    for command in ALL:
        assert catalogue.about(command.name).endswith("."), command.name
        assert "{" not in catalogue.about(command.name)
        assert catalogue.about(command.resource)
        for flag in command.flags:
            assert catalogue.help_of(command, flag), f"{command.name} --{flag.name}"
            used.add(next(key for key in catalogue._keys(command, flag) if key in words.FLAGS))
    assert set(words.FLAGS) == used
    assert set(words.EXAMPLES) <= set(COMMANDS)
    assert set(words.RESOURCES) | {f"edge-modules {name}" for name in MODULES} == {one.resource for one in ALL}
    assert {key for key in words.VERBS if " " in key} <= set(COMMANDS)


# === that the API takes what they send

PREFIXES = {"edge_id": "edghts", "subscription_id": "esb"}


def word(name: str) -> str:
    return identifier(PREFIXES.get(name, "xy"))


def several(flag: Flag) -> list[str]:
    return ["bindings", "ingress", "gateway"] if flag.name == "enabled-features" else ["one", "two", "three"]


def value(command: Command, flag: Flag, folder: Path, server: Api) -> list[str]:
    """A flag with something that it may hold."""
    (folder / "text.yml").write_text("on_http_request: []\n")
    name = f"--{flag.name}"
    special = {"subscription-id": identifier("esb"), "edge-id": identifier("edghts"), "type": "ip_policy_created.v0"}
    text = special.get(flag.name, f"some {flag.name}") if flag.in_path else f"some {flag.name}, and a comma"
    return {
        "": [name, text],
        "?": [f"{name}=false"],
        "#": [name, "42"],
        "~": [name, "2.5"],
        "*": [name, ",".join(several(flag)[:2]), name, *several(flag)[2:]],
        "@": [name, "us"],
        "%": [name, "a=b=c", f"{name}=d="],
        "=": [name, "bkd_1=3"],
        "<": [name, str(folder / "text.yml")],
        "&": [name, f"{server.url}/policy"],
    }[flag.sign]


def chosen(command: Command) -> list[list[Flag]]:
    """All flags of a command; in several turns where some exclude each other."""
    alternatives = [flag for flag in command.flags if flag.sign in ("<", "&")]
    fields = {flag.field for flag in alternatives}
    first = [flag for flag in command.flags if flag not in alternatives]
    return [first, *([*(flag for flag in first if flag.name not in fields), one] for one in alternatives)]


def expected(flag: Flag, folder: Path) -> object:
    return {
        "": f"some {flag.name}, and a comma",
        "?": False,
        "#": 42,
        "~": 2.5,
        "*": several(flag),
        "@": [{"value": "us"}],
        "%": {"a": "b=c", "d": ""},
        "=": {"bkd_1": 3},
        "<": "on_http_request: []\n",
        "&": "on_http_request: [{}]\n",
    }[flag.sign]


class Policy:
    """Answers what is not a part of the API: a policy behind a URL."""

    def __init__(self, server: Api) -> None:
        self.judged = server.answer

    def __call__(self, seen: Seen) -> Reply:
        if seen.target == "/policy":
            assert "authorization" not in seen.headers
            return Reply(200, b"on_http_request: [{}]\n")
        return self.judged(seen)


@pytest.mark.parametrize("command", ALL, ids=lambda command: command.name)
def test_a_command_with_all_its_flags_is_a_request_of_the_api(
    command: Command, api: Api, call: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "answer", Policy(api))
    for flags in chosen(command):
        argv = [part for flag in flags for part in value(command, flag, tmp_path, api)]
        told = call(*command.name.split(" "), *map(word, command.parameters), *argv)
        assert api.problems == []
        assert told.code == 0, told.err
        status, _, _ = told.err.splitlines()[-1].partition(" ")
        assert status in ("200", "201", "204")
        assert (told.out == "") == (status == "204")
        assert told.out == "" or json.loads(told.out)
        sent = api.last
        assert (sent.method, bool(sent.operation)) == (command.method, True)
        if sent.method == "GET":
            wanted = [
                (flag.name.replace("-", "_"), "42" if flag.sign else f"some {flag.name}, and a comma")
                for flag in flags
                if not flag.in_path
            ]
            assert sent.query == wanted
        elif sent.method != "DELETE":
            leaves = {flag.field.replace("-", "_"): expected(flag, tmp_path) for flag in flags if not flag.in_path}
            assert flat(sent.json, set(leaves)) == leaves


def flat(body: dict[str, object], leaves: set[str], prefix: str = "") -> dict[str, object]:
    """A body with its fields by their whole names."""
    found: dict[str, object] = {}
    for key, one in body.items():
        name = f"{prefix}{key}"
        if name not in leaves and isinstance(one, dict):
            found |= flat(one, leaves, f"{name}.")
        else:
            found[name] = one
    return found


@pytest.mark.parametrize("command", ALL, ids=lambda command: command.name)
def test_its_example_does_something(command: Command, api: Api, call: Run, tmp_path: Path) -> None:
    (tmp_path / "policy.yml").write_text("on_http_request: []\n")
    (tmp_path / "token.txt").write_text("hidden")
    line = catalogue.example(command)
    assert line.startswith(command.name)
    ids = re.sub(r"\b([a-z0-9]+)_ID\b", lambda found: identifier(found[1]), line)
    told = call(*shlex.split(ids))
    assert (told.code, api.problems) == (0, []), told.err
    sent = api.last
    given = set(re.findall(r"--([a-z.-]+)", line))
    assert {flag.name for flag in command.flags if flag.required} <= given
    if sent.method == "PATCH":
        assert sent.json, "an example that changes nothing"
