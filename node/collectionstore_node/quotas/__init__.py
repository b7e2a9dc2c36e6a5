"""Rates and fair shares: how much of a member one user, or the requests for one collection, may take. Pure.

The limits of users and collections are replicated, with the access control of the store (`access.limits`).

- `buckets.py`  a token bucket, with the time handed in
- `limiter.py`  who is over a limit now, and when it may return
- `shares.py`   fair shares of what a member does at a time, while it is under pressure

What a collection may store, its documents and bytes, is not here: that is an option of the collection, and enforced
where writes are applied (`statemachine.metering`).
"""

from __future__ import annotations

from collectionstore_node.quotas.limiter import FREE, Admitted, Limiter, Limits, Refusal
from collectionstore_node.quotas.shares import Shares

__all__ = ["FREE", "Admitted", "Limiter", "Limits", "Refusal", "Shares"]
