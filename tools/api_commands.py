"""Writes python/portway/api/table.gz: the commands of `portway api`, from the document of the API.

usage: python tools/api_commands.py

A test compares the file with what this would write. How names of resources and verbs come about, and what the document
does not tell about the command line, stands here (api-cli.md); the document itself is made by tools/openapi.py.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT / "tools" / "openapi" / "api.json"
TABLE = ROOT / "python" / "portway" / "api" / "table.gz"

Json = dict[str, Any]

# Resources that are not called as their path is.
NAMES = {
    "": "root",
    "self": "root",
    "app/users": "application-users",
    "app/sessions": "application-sessions",
    "vault_secrets": "secrets",
    "event_subscriptions/{subscription_id}/sources": "event-sources",
    "backends/static": "backends static-address",
    "edges/https/{edge_id}/routes": "edges https-routes",
}
# Verbs that are not called as what they do, or as the end of their path.
VERBS = {
    ("get", "/"): "get",
    ("get", "/self"): "self",
    ("get", "/kubernetes_operators/{id}/bound_endpoints"): "get-bound-endpoints",
    ("get", "/vaults/{id}/secrets"): "get-secrets-by-vault",
    ("delete", "/reserved_addrs/{id}/endpoint_configuration"): "delete-endpoint-config",
    ("delete", "/reserved_domains/{id}/certificate"): "delete-certificate",
    (
        "delete",
        "/reserved_domains/{id}/certificate_management_policy",
    ): "delete-certificate-management-policy",
    ("delete", "/reserved_domains/{id}/http_endpoint_configuration"): "delete-http-endpoint-config",
    ("delete", "/reserved_domains/{id}/https_endpoint_configuration"): "delete-https-endpoint-config",
}
USUAL = {"get": "get", "patch": "update", "put": "replace", "delete": "delete"}
# Nobody would look for them here.
LEFT_OUT = ("/abuse_reports",)

# Parts of paths that are given as flags.
PATH_FLAGS = {"event-sources": ("subscription_id", "type"), "edges https-routes create": ("edge_id",)}
# `event-sources list` has the subscription as its word all the same.
PATH_WORDS = ("event-sources list",)
# Lists can be asked for by these in the API, and not on the command line.
NO_FLAGS = {"endpoints list": ("id", "url")}
# A text that may be in a file, or behind a URL.
ELSEWHERE = {"endpoints": {"traffic-policy": "<&"}, "secrets": {"value": "<"}}
SUFFIX = {"<": "-file", "&": "-url"}
# What is left of older days: works, and is not listed.
HIDDEN = (
    "ip-policies create --action",
    "endpoint-configuration-id",
    "http-endpoint-configuration-id",
    "https-endpoint-configuration-id",
)


def kebab(name: str) -> str:
    return name.replace("_", "-")


def command(method: str, path: str) -> str:
    """What an operation is called."""
    parts = path.strip("/").split("/")
    if len(parts) > 3 and parts[0] == "edges" and parts[-1] != "{id}" and parts[-1] != "routes":
        middle = "-route" if "routes" in parts else ""
        return f"edge-modules {parts[1]}-edge{middle}-{kebab(parts[-1])} {USUAL[method]}"
    one = parts[-1] == "{id}" or parts[-1] == "{type}"
    at = parts.index("{id}") if "{id}" in parts else len(parts) - one
    resource = "/".join(parts[:at])
    name = NAMES.get(resource) or " ".join(kebab(part) for part in resource.split("/"))
    rest = parts[at + 1 :]
    if (method, path) in VERBS:
        verb = VERBS[method, path]
    elif rest:
        verb = kebab(rest[-1])
    elif one:
        verb = USUAL[method]
    else:
        verb = {"get": "list", "post": "create"}[method]
    return f"{name} {verb}"


def flags(name: str, operation: Json, schemas: Json) -> list[str]:
    """The flags of a command; what has to be there comes first."""
    resource = name.rpartition(" ")[0]
    in_path = () if name in PATH_WORDS else (*PATH_FLAGS.get(resource, ()), *PATH_FLAGS.get(name, ()))
    found: dict[str, str] = {}
    for parameter in operation["parameters"]:
        key = parameter["name"]
        if parameter["in"] == "path" and key in in_path:
            found[kebab(key)] = "!/"
        elif parameter["in"] == "query" and key not in NO_FLAGS.get(name, ()):
            found[kebab(key)] = "#" if key == "limit" else ""
    if "requestBody" in operation:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        found |= dict(fields(schema, schemas, "", top=True))
    for flag, signs in ELSEWHERE.get(resource, {}).items():
        if flag in found:
            found[flag] = found[flag].replace("!", "")  # one of them has to be there
            found |= {flag + SUFFIX[sign]: sign for sign in signs}
    for flag in found:
        if flag in HIDDEN or f"{name} --{flag}" in HIDDEN:
            found[flag] += "-"
    return [flag + found[flag] for flag in sorted(found, key=lambda flag: ("!" not in found[flag], flag))]


def fields(schema: Json, schemas: Json, prefix: str, *, top: bool) -> Iterator[tuple[str, str]]:
    """The fields of a body as flags, those of objects in it too."""
    schema = followed(schema, schemas)
    for key, value in schema.get("properties", {}).items():
        field = followed(value, schemas)
        name = prefix + kebab(key)
        must = "!" if top and key in schema.get("required", ()) else ""
        if field["type"] == "object" and "properties" in field:
            yield from fields(field, schemas, f"{name}.", top=False)
        elif field["type"] == "array" and "properties" in (item := followed(field["items"], schemas)):
            if list(item["properties"]) == ["value"]:
                yield name, f"@{must}"
        else:
            yield name, sign(field) + must


def sign(field: Json) -> str:
    if field["type"] == "object":
        return "=" if field["additionalProperties"]["type"] == "integer" else "%"
    return {"string": "", "boolean": "?", "integer": "#", "number": "~", "array": "*"}[field["type"]]


def followed(schema: Json, schemas: Json) -> Json:
    found: Json = schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    return found


def commands(document: Json) -> dict[str, str]:
    """Everything about every command, by name."""
    schemas = document["components"]["schemas"]
    made = {}
    for path, operations in document["paths"].items():
        if path.startswith(LEFT_OUT):
            continue
        for method, operation in operations.items():
            name = command(method, path)
            assert name not in made, name
            made[name] = " ".join([method.upper(), path, *flags(name, operation, schemas)])
    return dict(sorted(made.items(), key=lambda item: (item[0].rpartition(" ")[0], item[0])))


def table() -> str:
    """A line for each, as `portway.api.table` reads them."""
    made = commands(json.loads(DOCUMENT.read_text()))
    return "".join(f"{name}\t{told}\n" for name, told in made.items())


if __name__ == "__main__":
    TABLE.write_bytes(gzip.compress(table().encode(), mtime=0))
