"""The series of users, collected at a scrape from the last status of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from collectionstore_operator.model.timestamps import seconds
from collectionstore_operator.observability.metrics.declared import family
from collectionstore_operator.observability.metrics.table import STATUSES
from collectionstore_operator.resource.access.desired import User
from collectionstore_operator.status.access.user_status import UserStatus

UserKey: TypeAlias = tuple[str, str]
"""Namespace and name of a user."""


class UserSeries(Collector):
    """The last state of each CollectionStoreUser that this operator looks after."""

    def __init__(self) -> None:
        self._known: dict[UserKey, tuple[User, UserStatus]] = {}

    def report(self, user: User, status: UserStatus) -> None:
        """Record what a round has found."""
        self._known[user.namespace, user.name] = (user, status)

    def forget(self, key: UserKey) -> None:
        """Drop the series of a user that is gone."""
        self._known.pop(key, None)

    def collect(self) -> Iterator[Metric]:
        """Yield all families."""
        conditions, expiries = family("user_condition"), family("user_credential_expiry_timestamp_seconds")
        for _, (user, status) in sorted(self._known.items(), key=lambda one: one[0]):
            labels = [user.namespace, user.spec.cluster_name, user.name]
            for condition in status.conditions:
                for value in STATUSES:
                    conditions.add_metric([*labels, condition.type, value], float(condition.status == value))
            if status.expires_at:
                expiries.add_metric(labels, seconds(status.expires_at))
        yield conditions
        yield expiries
