"""The schema of the cluster chart's values: the resource's own spec, and the few values of the chart."""

from __future__ import annotations

import json
from typing import Any, Final

import yaml

from collectionstore_operator.crd.definition import text as definition_text

NOT_IN_CHART: Final = ("local",)
"""Read by `csctl local` alone."""
_LABELS: Final = {"type": "object", "additionalProperties": {"type": "string"}}
_OWN: Final[dict[str, Any]] = {
    "global": {"type": "object"},
    "fullnameOverride": {"type": "string", "maxLength": 40, "pattern": "^([a-z]([-a-z0-9]*[a-z0-9])?)?$"},
    "labels": {**_LABELS, "patternProperties": {r"^(app\.kubernetes\.io|helm\.sh)/": False}},
    "annotations": _LABELS,
    "test": {
        "type": "object",
        "additionalProperties": False,
        "required": ["timeoutSeconds"],
        "properties": {
            "image": {"type": "string"},
            "timeoutSeconds": {"type": "integer", "minimum": 1, "maximum": 3600},
            "resources": {"type": "object"},
        },
    },
}


def spec() -> dict[str, Any]:
    """Return the schema of the resource's spec, as the definition has it."""
    definition = yaml.safe_load(definition_text())
    schema: dict[str, Any] = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return schema


def text() -> str:
    """Return values.schema.json."""
    fields = {name: _json_schema(one) for name, one in spec()["properties"].items() if name not in NOT_IN_CHART}
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of collectionstore-cluster",
        "$comment": "Made by `python charts/generate.py` from the resource's definition.",
        "type": "object",
        "additionalProperties": False,
        "required": ["replicas", "storage", "test"],
        "properties": {**_OWN, **fields},
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _json_schema(node: dict[str, Any]) -> dict[str, Any]:
    """Return a schema of OpenAPI as JSON Schema that refuses unknown fields, which the API server does by itself.

    Rules in CEL are left to the API server.
    """
    made = {key: value for key, value in node.items() if not key.startswith("x-kubernetes-") and key != "format"}
    if node.get("x-kubernetes-int-or-string"):
        made["type"] = ["integer", "string"]
    if "properties" in node:
        made["properties"] = {name: _json_schema(one) for name, one in node["properties"].items()}
        made["additionalProperties"] = False
    elif isinstance(node.get("additionalProperties"), dict):
        made["additionalProperties"] = _json_schema(node["additionalProperties"])
    if isinstance(node.get("items"), dict):
        made["items"] = _json_schema(node["items"])
    return made
