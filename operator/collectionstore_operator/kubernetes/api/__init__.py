"""Calls to the Kubernetes API server; nothing else in the operator makes any, except kopf's watches.

- `kinds.py`           the kinds that the operator uses, and their paths
- `api_errors.py`      what an error response means to the caller
- `retry.py`           which responses are retried, and after which backoff
- `client.py`          `Kube`: get, list, apply, create, patch, delete
- `lease_object.py`    a Lease as an object, for the next two
- `lease.py`           leader election among the processes of one installation
- `tenure.py`          the right of one installation to act on a cluster, and the fencing epoch that its nodes check
- `permissions.py`     the permissions the operator needs, and the check that it has them
- `event_recorder.py`  Events about resources
"""

from collectionstore_operator.kubernetes.api.api_errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    Forbidden,
    Invalid,
    NotFound,
    Unavailable,
)
from collectionstore_operator.kubernetes.api.client import Kube
from collectionstore_operator.kubernetes.api.kinds import Body, Kind

__all__ = [
    "AlreadyExists",
    "ApiError",
    "Body",
    "Conflict",
    "Forbidden",
    "Invalid",
    "Kind",
    "Kube",
    "NotFound",
    "Unavailable",
]
