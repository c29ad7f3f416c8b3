"""What portway is built from, as CycloneDX 1.6: for programs that look for known weaknesses.

The same packages as in `portway credits`, those of the inspection page included, with the checksums of Cargo.lock; of
Python, what a system package carries.
"""

from __future__ import annotations

import json
import re
import runpy
import uuid
from pathlib import Path
from typing import Any

from result import ROOT

REQUIREMENT = re.compile(r"^([A-Za-z0-9_.-]+)==(\S+)$", re.MULTILINE)


def build(version: str, time: str, out: Path) -> Path:
    told = runpy.run_path(str(ROOT / "tools" / "credits.py"))["credits"]()
    sums = checksums()
    crates = [_crate(one, sums) for one in told["crates"]]
    licences = {one["name"].lower(): one["license"] for one in told["python"]}
    python = [
        _component("pypi", name.lower().replace("_", "-"), number, licences.get(name.lower(), ""))
        for name, number in REQUIREMENT.findall((ROOT / "packaging" / "requirements.txt").read_text())
    ]
    page = [_component("npm", one["name"].lower(), one["version"], one["license"]) for one in told["scripts"]]
    components = [*crates, *page, *python]
    main = {"type": "application", "name": "portway", "version": version, "bom-ref": f"pkg:pypi/portway@{version}"}
    bom = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, json.dumps(components, sort_keys=True))}",
        "version": 1,
        "metadata": {
            "timestamp": time,
            "component": {**main, "purl": main["bom-ref"], "licenses": [{"license": {"id": "Apache-2.0"}}]},
        },
        "components": components,
        "dependencies": [{"ref": main["bom-ref"], "dependsOn": [one["bom-ref"] for one in components]}],
    }
    path = out / f"portway-{version}.cdx.json"
    path.write_text(json.dumps(bom, indent=1) + "\n")
    return path


def checksums() -> dict[tuple[str, str], str]:
    """SHA-256 of every crate in Cargo.lock."""
    found = {}
    for block in (ROOT / "Cargo.lock").read_text().split("[[package]]\n")[1:]:
        fields = dict(re.findall(r'^(\w+) = "(.*)"$', block, re.MULTILINE))
        if "checksum" in fields:
            found[fields["name"], fields["version"]] = fields["checksum"]
    return found


def _crate(one: dict[str, Any], sums: dict[tuple[str, str], str]) -> dict[str, Any]:
    component = _component("cargo", one["name"], one["version"], re.sub(r" */ *", " OR ", one["license"]))
    component["hashes"] = [{"alg": "SHA-256", "content": sums[one["name"], one["version"]]}]
    if one["home"]:
        component["externalReferences"] = [{"type": "vcs", "url": one["home"]}]
    return component


def _component(kind: str, name: str, version: str, licence: str) -> dict[str, Any]:
    reference = f"pkg:{kind}/{name}@{version}"
    library = {"type": "library", "name": name, "version": version, "bom-ref": reference, "purl": reference}
    return {**library, "licenses": [{"expression": licence}]} if licence else library
