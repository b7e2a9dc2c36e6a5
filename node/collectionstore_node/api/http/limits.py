"""The limits of a request as an HTTP message; what an operation may hold is limited by the store (`service.limits`)."""

from __future__ import annotations

import msgspec

from collectionstore_telemetry.profiling import SECONDS_MAX


class HttpLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds on one request and on all of them together. Bytes are counted after percent-decoding.

    The body of a document or raw value is bounded by the store's own limit for it.
    """

    transaction_bytes_max: int = 2 << 20
    """The body of a transaction."""
    control_bytes_max: int = 64 << 10
    """The body of every other request."""
    key_bytes_max: int = 1 << 10
    """A document id or a raw key, as UTF-8."""
    depth_max: int = 100
    """Nesting of objects and arrays in a body; the outermost object counts as 1."""
    list_items_default: int = 100
    """Items of a page when the request does not say."""
    timeout_default_s: float = 5.0
    timeout_max_s: float = 60.0
    """Bounds a request's whole budget, of which the arrival of its body is a part; so it is checked before that."""
    ready_timeout_s: float = 1.0
    """Budget of the readiness probe, below the usual probe timeouts."""
    profile_seconds_max: int = SECONDS_MAX
    target_bytes_max: int = 8 << 10
    """Path and query of a request."""
    receiving_bytes_max: int = 64 << 20
    """What has arrived of bodies that are not complete."""
    uploads_max: int = 1_024
    """Bodies that are still arriving."""
    unsent_bytes_max: int = 64 << 20
    """Answers that their clients have not taken yet."""
    address_inflight_share: float = 0.75
    """The part of the requests in flight that one address may have, so that others always find a place."""
    lingering_s: float = 5.0
    """How long the rest of a refused body is read and discarded, so that the client gets to read the answer."""
