"""The fields of operations as the store's types, by the rules of the REST API. Pure; everything raises `Problem`."""

from __future__ import annotations

from functools import cache

from collectionstore_node.api.http.bodies import DEFAULT_CONTENT_TYPE, check_content_type
from collectionstore_node.api.http.json_windows import Rules
from collectionstore_node.api.http.limits import HttpLimits
from collectionstore_node.api.http.names import bucket_name, check_key, check_text, collection_name
from collectionstore_node.api.http.options import REVISION_MAX, STALENESS_MAX_S, STALENESS_MIN_S, TIMEOUT_MIN_S
from collectionstore_node.api.http.preconditions import ABSENT, PRESENT
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.api.stream.operations import ConditionalRead, ConditionalWrite, Read, Revisions, Write
from collectionstore_node.service import BoundedStaleness, Consistency, ReadConsistency
from collectionstore_node.service.operations import (
    ANY,
    IDEMPOTENCY_KEY,
    REVISIONS_MAX,
    DocumentRef,
    KeyRef,
    Precondition,
    at_least,
)

rules = cache(Rules)
"""Made once, for the hot path."""


def timeout_s(timeout_ms: int | None, limits: HttpLimits) -> float:
    """Return the budget of an operation."""
    if timeout_ms is None:
        return limits.timeout_default_s
    # In milliseconds: an integer of JSON may be too large for a division.
    if not TIMEOUT_MIN_S * 1000 <= timeout_ms <= limits.timeout_max_s * 1000:
        raise Problem(
            "invalid_parameter", f"timeout_ms is {timeout_ms}; allowed are 1 to {limits.timeout_max_s * 1000:g}"
        )
    return timeout_ms / 1000


def consistency(operation: Read) -> ReadConsistency:
    """Return how current a read must be."""
    current = _consistency(operation)
    if not operation.min_revision:
        return current
    if not 0 < operation.min_revision <= REVISION_MAX:
        raise Problem(
            "invalid_parameter", f"min_revision is {operation.min_revision}; it must be a revision, a number from 1 on"
        )
    return at_least(current, operation.min_revision)


def _consistency(operation: Read) -> Consistency | BoundedStaleness:
    if operation.max_staleness_ms is None:
        return operation.consistency
    if operation.consistency is not Consistency.STALE:
        raise Problem("invalid_parameter", "max_staleness_ms is for reads with consistency stale")
    # In milliseconds, as above.
    if not STALENESS_MIN_S * 1000 <= operation.max_staleness_ms <= STALENESS_MAX_S * 1000:
        raise Problem(
            "invalid_parameter",
            f"max_staleness_ms is {operation.max_staleness_ms}; allowed are 1 to {STALENESS_MAX_S * 1000:g}",
        )
    return BoundedStaleness(operation.max_staleness_ms / 1000)


def idempotency_key(operation: Write) -> str | None:
    """Return the key of a write, or None."""
    key = operation.idempotency_key
    if key is None or IDEMPOTENCY_KEY.fullmatch(key):
        return key
    raise Problem("invalid_idempotency_key", "an idempotency_key has 1-255 printable ASCII characters without spaces")


def document_ref(collection: str, name: str, limits: HttpLimits) -> DocumentRef:
    """Return the document that an operation names."""
    return DocumentRef(collection_name(collection), check_key(name, limits.key_bytes_max, "document id"))


def key_ref(bucket: str, key: str, limits: HttpLimits) -> KeyRef:
    """Return the raw value that an operation names."""
    return KeyRef(bucket_name(bucket), check_key(key, limits.key_bytes_max, "key"))


def write_precondition(operation: ConditionalWrite) -> Precondition:
    """Return the precondition of a write."""
    revisions, exists = operation.if_revision, operation.if_exists
    if revisions is None:
        if exists is None:
            return ANY
        return PRESENT if exists else ABSENT
    if exists is not None:
        raise Problem("invalid_precondition", "send if_revision or if_exists, not both")
    return Precondition(revisions=_revisions(revisions, "if_revision"))


def read_failed(operation: ConditionalRead, revision: int) -> bool:
    """Return whether the condition of a read excludes the target's revision."""
    wanted = operation.if_revision
    return wanted is not None and revision not in _revisions(wanted, "if_revision")


def read_unchanged(operation: ConditionalRead, revision: int) -> bool:
    """Return whether the client has the target's revision already."""
    known = operation.unless_revision
    return known is not None and revision in _revisions(known, "unless_revision")


def check_read_conditions(operation: ConditionalRead) -> None:
    """Check the conditions of a read BEFORE anything is read."""
    for given, name in ((operation.if_revision, "if_revision"), (operation.unless_revision, "unless_revision")):
        if given is not None:
            _revisions(given, name)


def content_type(given: str | None) -> str:
    """Return the type to store with a raw value."""
    return DEFAULT_CONTENT_TYPE if given is None else check_content_type(given)


def prefix(given: str, limits: HttpLimits) -> str:
    """Return the prefix of a list."""
    return check_text(given, limits.key_bytes_max, "prefix") if given else ""


def check_size(size: int, bytes_max: int) -> None:
    """Refuse what is too large BEFORE it is parsed."""
    if size > bytes_max:
        raise Problem("too_large", f"at most {bytes_max} bytes are allowed here", limit_bytes=bytes_max)


def _revisions(given: Revisions, name: str) -> tuple[int, ...]:
    revisions = (given,) if isinstance(given, int) else tuple(given)
    if not 0 < len(revisions) <= REVISIONS_MAX or any(not 0 < one < 1 << 63 for one in revisions):
        raise Problem("invalid_precondition", f"{name} takes 1 to {REVISIONS_MAX} revisions of at least 1")
    return revisions
