"""What may be missing, each with the reason. A run fails on an entry that is no longer needed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

UNSEEN: Final[Mapping[str, str]] = {}
"""Families that no panel, alert or recording rule uses."""


@dataclass(frozen=True, slots=True)
class Silence:
    """Why a panel has no data, and what proves that it would have some.

    `zero` is an expression whose series must exist, all of them 0. Where a series begins to exist when the first thing
    of its kind happens, `declared` is the family that a program must declare, without a sample.
    """

    reason: str
    zero: str = ""
    declared: str = ""
    chance: bool = False
    """Whether a run may as well see it, as it lasts for moments."""


_API_SERVER: Final = "a local operator has no API server to ask"

SILENT: Final[Mapping[tuple[str, str], Silence]] = {
    ("collectionstore-operator", "Age of the Lease"): Silence(
        "a local operator holds no Lease", declared="collectionstore_operator_lease_age_seconds"
    ),
    ("collectionstore-operator", "Requests to the API server"): Silence(
        _API_SERVER, declared="collectionstore_operator_api_requests_total"
    ),
    ("collectionstore-operator", "Requests by resource"): Silence(
        _API_SERVER, declared="collectionstore_operator_api_requests_total"
    ),
    ("collectionstore-operator", "Time of a request, p99"): Silence(
        _API_SERVER, declared="collectionstore_operator_api_request_duration_seconds"
    ),
    ("collectionstore-operator", "Blocked for"): Silence(
        "no step of a plan waits", zero="collectionstore_cluster_blocked_steps", chance=True
    ),
    ("collectionstore-operator", "Clusters"): Silence(
        "its column of blocked steps: none waits", zero="collectionstore_cluster_blocked_steps", chance=True
    ),
    ("collectionstore-operator", "Errors by kind"): Silence(
        "nothing went wrong in the operator", declared="collectionstore_operator_errors_total"
    ),
}
"""Panels without data in a run, by dashboard's uid and panel's title."""
