"""Parsing of users and roles, with every validation error."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from collectionstore_operator.errors import FieldError, InvalidResource
from collectionstore_operator.resource.access import names
from collectionstore_operator.resource.access_specs import RoleSpec, UserSpec
from collectionstore_operator.resource.companions import common, parsed_spec
from collectionstore_operator.resource.desired import Runtime


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A valid CollectionStoreUser."""

    name: str
    namespace: str
    uid: str
    generation: int
    created: str
    """RFC 3339."""
    deleting: bool
    held: bool
    """Whether our finalizer is on it."""
    rotate: str = ""
    """What people have asked for by annotation: any new value, see `names.ROTATE`."""
    revoke: str = ""
    spec: UserSpec

    @property
    def secret(self) -> str:
        """Return the name of its Secret."""
        return self.spec.secret_name or names.secret(self.name)


class Role(msgspec.Struct, frozen=True, kw_only=True):
    """A valid CollectionStoreRole."""

    name: str
    namespace: str
    uid: str
    generation: int
    created: str
    deleting: bool
    held: bool
    spec: RoleSpec


def parse_user(resource: Mapping[str, Any], runtime: Runtime = Runtime.KUBERNETES) -> User:
    """Return a user. Raises `InvalidResource` with every error."""
    metadata = resource["metadata"]
    _require_free(metadata, names.RESERVED_USERS, "a user that every cluster has")
    notes = metadata.get("annotations") or {}
    return User(
        **common(metadata),
        held=names.FINALIZER in (metadata.get("finalizers") or ()),
        rotate=notes.get(names.ROTATE, ""),
        revoke=notes.get(names.REVOKE, ""),
        spec=parsed_spec(resource, UserSpec, runtime),
    )


def parse_role(resource: Mapping[str, Any], runtime: Runtime = Runtime.KUBERNETES) -> Role:
    """Return a role. Raises `InvalidResource` with every error."""
    metadata = resource["metadata"]
    _require_free(metadata, names.BUILT_IN_ROLES, "a role that every cluster has")
    spec = parsed_spec(resource, RoleSpec, runtime)
    errors = [] if "deletionTimestamp" in metadata else list(_filter_errors(spec))
    if errors:
        raise InvalidResource(errors, generation=metadata.get("generation", 0))
    return Role(**common(metadata), held=names.FINALIZER in (metadata.get("finalizers") or ()), spec=spec)


def _require_free(metadata: Mapping[str, Any], taken: tuple[str, ...], what: str) -> None:
    """Raise InvalidResource for a name that is taken; not for a resource that is being deleted."""
    if metadata["name"] in taken and "deletionTimestamp" not in metadata:
        error = FieldError("metadata.name", f"{metadata['name']} is {what}", f"any name except {', '.join(taken)}")
        raise InvalidResource([error], generation=metadata.get("generation", 0))


def _filter_errors(spec: RoleSpec) -> Iterator[FieldError]:
    """Yield an error for each filter that is no JSON object. What it means, the cluster says."""
    for position, rule in enumerate(spec.rules):
        if rule.filter is None:
            continue
        try:
            msgspec.json.decode(rule.filter, type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError):
            path = f"spec.rules[{position}].filter"
            yield FieldError(path, "it is no JSON object", 'a filter such as {"tenant": "north"}')
