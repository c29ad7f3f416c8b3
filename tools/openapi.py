"""Makes one document of the API, tools/openapi/api.json: what is published, what is known besides, and no prose.

usage: python tools/openapi.py FOLDER

FOLDER has the published document (`ngrok.yaml`, by its makers, see openapi/LICENSE) and `additions.yaml`, which also
says where that document is wrong; `openapi/more.yaml` has the rest. The table of `portway api` is made from the
result, and tests hold requests and answers against it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent / "openapi"
DOCUMENT = HERE / "api.json"
METHODS = ("get", "post", "put", "patch", "delete")
PROSE = ("description", "summary", "tags", "example", "title")
SCHEMA = "#/components/schemas/"

Json = dict[str, Any]


def read(path: Path) -> Json:
    loaded: Json = yaml.load(path.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    return loaded


def document(folder: Path) -> Json:
    """All there is to know about the API."""
    published, additions, more = read(folder / "ngrok.yaml"), read(folder / "additions.yaml"), read(HERE / "more.yaml")
    amendments = additions.pop("x-amendments")
    schemas: Json = {**additions["components"]["schemas"], **published["components"]["schemas"], **more["schemas"]}
    paths: Json = {}
    for source in (published, additions):
        for path, operations in source["paths"].items():
            for method in METHODS:
                if method in operations:
                    made = operation(source, operations[method], operations.get("parameters", []))
                    paths.setdefault(path, {})[method] = made
    for path, operations in more["paths"].items():
        for method, known in operations.items():
            paths.setdefault(path, {})[method] = written(path, known)
    amend(paths, schemas, amendments)
    for name, fields in more["fields"].items():
        schemas[name]["properties"] = {**schemas[name]["properties"], **fields}
    used = reached(paths, schemas)
    return {
        "openapi": "3.0.3",
        "info": {"title": "The public API, as far as it is known", "version": "2"},
        "security": [{"authentication": []}],
        "paths": {path: paths[path] for path in sorted(paths)},
        "components": {
            "securitySchemes": {"authentication": {"type": "http", "scheme": "bearer"}},
            "schemas": {name: schemas[name] for name in sorted(used)},
        },
    }


def operation(source: Json, known: Json, common: list[Json]) -> Json:
    """An operation of one of the documents, with nothing left that leads elsewhere but to schemas."""
    found = [resolved(source, one) for one in (*common, *known.get("parameters", []))]
    made: Json = {"operationId": known["operationId"]}
    made["parameters"] = [bare(one) for one in found if one["in"] != "header"]
    if body := known.get("requestBody"):
        made["requestBody"] = bare(body)
    made["responses"] = {status: bare(resolved(source, one)) for status, one in known["responses"].items()}
    return made


def written(path: str, known: Json) -> Json:
    """An operation of ours, from a few words."""
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    parameters = [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names]
    if known.get("paged"):
        parameters += [{"name": name, "in": "query", "schema": {"type": "string"}} for name in ("before_id", "limit")]
    made: Json = {"operationId": known["operationId"], "parameters": parameters}
    if "body" in known:
        made["requestBody"] = content(known["body"])
    made["responses"] = {str(status): content(name) if name else {} for status, name in known["answer"].items()}
    return made


def content(schema: str) -> Json:
    return {"content": {"application/json": {"schema": {"$ref": SCHEMA + schema}}}}


def resolved(source: Json, one: Json) -> Json:
    if "$ref" not in one:
        return one
    found: Any = source
    for part in one["$ref"].removeprefix("#/").split("/"):
        found = found[part]
    result: Json = found
    return result


def amend(paths: Json, schemas: Json, amendments: Json) -> None:
    """Puts right what `additions.yaml` says is wrong."""
    for path in amendments["query-parameter-filter"]:
        paths[path]["get"]["parameters"].append({"name": "filter", "in": "query", "schema": {"type": "string"}})
    for path, names in amendments["query-parameter-rename"].items():
        for parameter in paths[path]["get"]["parameters"]:
            parameter["name"] = names.get(parameter["name"], parameter["name"])
    for name, fields in amendments["schema-add"].items():
        schemas[name]["properties"] |= fields
    for name, fields in amendments["schema-not-required"].items():
        schemas[name]["required"] = [field for field in schemas[name]["required"] if field not in fields]
    for operations in paths.values():
        for one in operations.values():
            if "requestBody" in one:
                amend_body(one, schemas, amendments["body-ignore"])


def amend_body(one: Json, schemas: Json, ignored: list[str]) -> None:
    """A body has no field that the path has, and is not wrapped into another."""
    holder = one["requestBody"]["content"]["application/json"]
    name = holder["schema"]["$ref"].removeprefix(SCHEMA)
    if name == "Item":
        holder["schema"] = {"$ref": f"{SCHEMA}Nothing"}
    elif name.endswith("Replace"):
        holder["schema"] = bare(schemas[name]["properties"]["module"])
    else:
        parameters = {parameter["name"] for parameter in one["parameters"]}
        fields = schemas[name]["properties"]
        schemas[name]["properties"] = {
            field: schema for field, schema in fields.items() if field not in {*ignored, *parameters}
        }


def bare(node: Any) -> Any:
    """Without prose, which is not ours; a field may have such a name."""
    if isinstance(node, list):
        return [bare(one) for one in node]
    if not isinstance(node, dict):
        return node
    return {
        key: {name: bare(one) for name, one in value.items()} if key == "properties" else bare(value)
        for key, value in node.items()
        if key not in PROSE
    }


def reached(paths: Json, schemas: Json) -> set[str]:
    """The schemas that an operation has to do with; prose goes from them."""
    used: set[str] = set()
    waiting: list[Any] = [paths]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if isinstance(ref := node.get("$ref"), str) and (name := ref.removeprefix(SCHEMA)) not in used:
                used.add(name)
                schemas[name] = bare(schemas[name])
                waiting.append(schemas[name])
            waiting += node.values()
        elif isinstance(node, list):
            waiting += node
    return used


def text(made: Json) -> str:
    """A line for each operation and each schema, so that changes can be read."""

    def line(value: Any) -> str:
        return json.dumps(value, separators=(", ", ": "))

    def block(values: Json, indent: str) -> str:
        rows = ",\n".join(f"{indent} {json.dumps(key)}: {line(value)}" for key, value in values.items())
        return f"{{\n{rows}\n{indent}}}"

    head = "".join(f"{json.dumps(key)}: {line(made[key])},\n" for key in ("openapi", "info", "security"))
    paths = ",\n".join(f" {json.dumps(path)}: {block(one, ' ')}" for path, one in made["paths"].items())
    parts = made["components"]
    schemes = line(parts["securitySchemes"])
    schemas = block(parts["schemas"], "  ")
    components = f'"components": {{"securitySchemes": {schemes}, "schemas": {schemas}}}'
    return f'{{\n{head}"paths": {{\n{paths}\n}},\n{components}\n}}\n'


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    DOCUMENT.write_text(text(document(Path(sys.argv[1]))))
