"""Leases as they are stored, and how they are read.

What is attached to a lease is found in both directions: a record names its lease (`stored.Expiry`), and a lease has a
place for each of its records. All of them are gone in the moment in which the lease ends, and are removed later.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from collectionstore_node.statemachine.codec import decode_own
from collectionstore_node.statemachine.commands import Ref
from collectionstore_node.statemachine.keys import (
    LEASE_RECORDS,
    attached_prefix,
    lease_id_of,
    lease_key,
    prefix_end,
    successor,
)
from collectionstore_node.statemachine.view import View


class Lease(msgspec.Struct, frozen=True, array_like=True):
    """The record of a lease. Add fields at the end, with a default."""

    ttl_ms: int
    deadline_ms: int
    """The replicated time from which on it has ended."""
    attached: int = 0
    """Records that are attached."""


class ListedLease(NamedTuple):
    """A lease with its ID."""

    id: int
    lease: Lease


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Lease)
_ref_decoder: msgspec.msgpack.Decoder[Ref] = msgspec.msgpack.Decoder(Ref)


def encode_lease(lease: Lease) -> bytes:
    """Return the record of a lease."""
    return _encoder.encode(lease)


def read_lease(view: View, lease: int) -> Lease | None:
    """Return a lease, also one that has ended and is not removed yet; None if there is none."""
    data = view.get(lease_key(lease))
    return None if data is None else decode_own(_decoder, data, "a lease")


def scan_leases(view: View, after: int = 0) -> Iterator[ListedLease]:
    """Yield the leases with a greater ID than `after`, in order of their IDs, ended ones too."""
    for key, data in view.scan(successor(lease_key(after)), prefix_end(LEASE_RECORDS)):
        yield ListedLease(lease_id_of(key), decode_own(_decoder, data, "a lease"))


def scan_attached(view: View, lease: int) -> Iterator[tuple[bytes, Ref]]:
    """Yield storage key and reference of the records that are attached to a lease."""
    prefix = attached_prefix(lease)
    for key, data in view.scan(prefix, prefix_end(prefix)):
        yield key[len(prefix) :], decode_ref(data)


def encode_ref(ref: Ref) -> bytes:
    """Return a reference, for a queue or a lease."""
    return _encoder.encode(ref)


def decode_ref(data: bytes) -> Ref:
    """Return the reference in `data`. Raises `InvariantViolated` if there is none."""
    return decode_own(_ref_decoder, data, "the reference of a record that expires")
