"""The bounds of the client API; every one has a status code that says it was met."""

from __future__ import annotations

import msgspec

from collectionstore_telemetry.profiling import SECONDS_MAX


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds on one request and on all of them together. Bytes are counted after percent-decoding."""

    document_bytes_max: int = 1 << 20
    """The JSON text of a document, as sent and as stored."""
    value_bytes_max: int = 1 << 20
    """A raw value."""
    transaction_bytes_max: int = 2 << 20
    """The body of a transaction."""
    transaction_items_max: int = 128
    """Entries in each of `compare`, `then` and `else`."""
    control_bytes_max: int = 64 << 10
    """The body of every other request."""
    key_bytes_max: int = 1 << 10
    """A document id or a raw key, as UTF-8."""
    depth_max: int = 100
    """Nesting of objects and arrays in a body; the outermost object counts as 1."""
    list_items_default: int = 100
    list_items_max: int = 1_000
    list_bytes_max: int = 4 << 20
    """A page ends after the item that reaches this size."""
    timeout_default_s: float = 5.0
    timeout_max_s: float = 60.0
    ready_timeout_s: float = 1.0
    """Budget of the readiness probe, below the usual probe timeouts."""
    profile_seconds_max: int = SECONDS_MAX
    target_bytes_max: int = 8 << 10
    """Path and query of a request."""
    inflight_requests_max: int = 1_024
    """Requests being served; probes are not counted."""
    receiving_bytes_max: int = 64 << 20
    """Bodies that are still arriving, by their declared sizes."""
    lingering_s: float = 5.0
    """How long what is left of a refused body is read and thrown away, so that the client gets to read the answer."""
