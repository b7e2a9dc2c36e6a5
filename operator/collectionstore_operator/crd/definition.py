"""The CustomResourceDefinition as a whole: names, columns, subresources, and the schema of spec and status."""

from __future__ import annotations

from typing import Any, Final

import yaml

from collectionstore_operator.crd.openapi import Schema, filled, struct_schema, without_defaults
from collectionstore_operator.crd.transitions import IDENTITY
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.rules import quoted
from collectionstore_operator.resource.spec import Spec
from collectionstore_operator.status.report import Status

COMMAND: Final = "python -m collectionstore_operator.crd"
SHORT_NAME: Final = "csc"
CATEGORY: Final = "collectionstore"
"""Of its own, not `all`: that one is asked for by scripts that delete what they find."""

_NAME_RULE: Final = (
    f"self.metadata.name.size() <= {labels.NAME_LENGTH_MAX} && "
    f"self.metadata.name.matches({quoted(labels.NAME_PATTERN)})"
)

COLUMNS: Final = (
    ("Members", "string", ".status.membersSummary", "Members that vote, have caught up and serve, of those wanted.", 0),
    ("Leader", "string", ".status.leader", "Member that leads.", 0),
    ("Version", "string", ".status.version", "Version the members run.", 0),
    ("FaultTolerance", "integer", ".status.faultTolerance", "How many more voters may fail now.", 0),
    ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', "Whether all is as it should be.", 0),
    ("Age", "date", ".metadata.creationTimestamp", "When the resource was made.", 0),
    ("Term", "integer", ".status.term", "Term of the leader.", 1),
    ("Configuration", "integer", ".status.configuration.index", "Place of the configuration in the log.", 1),
    ("Certificates", "string", ".status.certificatesExpire", "When the first certificate expires.", 1),
)
"""Name, type, path, description, and 1 for those shown by `-o wide` only."""


class _Dumper(yaml.SafeDumper):
    """Writes everything out: an anchor is valid YAML, and not every reader's."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def definition() -> dict[str, Any]:
    """Return the CustomResourceDefinition."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{labels.PLURAL}.{labels.GROUP}"},
        "spec": {
            "group": labels.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": labels.KIND,
                "listKind": f"{labels.KIND}List",
                "plural": labels.PLURAL,
                "singular": labels.KIND.lower(),
                "shortNames": [SHORT_NAME],
                "categories": [CATEGORY],
            },
            "versions": [_version()],
        },
    }


def text() -> str:
    """Return the file: YAML, with a line that says where it comes from."""
    body = yaml.dump(definition(), Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
    return f"# Made by `{COMMAND}`; change the structs it is made from instead.\n{body}"


def _version() -> dict[str, Any]:
    return {
        "name": labels.VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _root()},
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "additionalPrinterColumns": [
            {"name": name, "type": kind, "jsonPath": path, "description": description, "priority": priority}
            for name, kind, path, description, priority in COLUMNS
        ],
    }


def _root() -> Schema:
    spec = {"description": "What is wanted.", **struct_schema(Spec), "default": filled(Spec())}
    status = {"description": "What was observed.", **without_defaults(struct_schema(Status))}
    name_message = (
        f"the name is not allowed: pods and Services are named after it; allowed: at most {labels.NAME_LENGTH_MAX} of "
        "a-z, 0-9 and '-', beginning with a letter and not ending with '-'"
    )
    return {
        "description": "A replicated JSON document store: its members, their disks and how they are run.",
        "type": "object",
        "properties": {
            "apiVersion": {"description": f"Version of this schema: {labels.API_VERSION}.", "type": "string"},
            "kind": {"description": f"Kind of this object: {labels.KIND}.", "type": "string"},
            "metadata": {"type": "object", "properties": {"name": {"type": "string"}}},
            "spec": spec,
            "status": status,
        },
        "x-kubernetes-validations": [
            {"rule": _NAME_RULE, "message": name_message, "fieldPath": ".metadata.name"},
            *({"rule": one.cel, "message": one.message, "fieldPath": f".{one.field}"} for one in IDENTITY),
        ],
    }
