"""What the resources beside a cluster have in common: backups, schedules, users and roles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from collectionstore_operator.errors import InvalidResource
from collectionstore_operator.resource import rules, schema
from collectionstore_operator.resource.desired import Runtime

_Spec = TypeVar("_Spec", bound=msgspec.Struct)


def common(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that every such resource has."""
    return {
        "name": metadata["name"],
        "namespace": metadata.get("namespace", "default"),
        "uid": metadata.get("uid", ""),
        "generation": metadata.get("generation", 1),
        "created": metadata.get("creationTimestamp") or "1970-01-01T00:00:00Z",
        "deleting": "deletionTimestamp" in metadata,
    }


def parsed_spec(resource: Mapping[str, Any], struct: type[_Spec], runtime: Runtime) -> _Spec:
    """Return the spec with its defaults. Raises InvalidResource with every error."""
    metadata = resource["metadata"]
    spec, errors = schema.convert(resource.get("spec") or {}, struct, "spec")
    # A rule that is newer than a stored resource must not keep it from being deleted.
    if spec is not None and "deletionTimestamp" not in metadata:
        platform = rules.KUBERNETES_RULES if runtime is Runtime.KUBERNETES else rules.LOCAL_RULES
        errors = [*rules.violations(spec, "spec"), *rules.violations(spec, "spec", platform)]
    if errors or spec is None:
        raise InvalidResource(errors, generation=metadata.get("generation", 0))
    return spec
