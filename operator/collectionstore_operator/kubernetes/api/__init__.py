"""The API server of Kubernetes; nothing else in the operator talks to it, but for the watches of kopf.

- `kinds.py`     which kinds there are to talk about, and their paths
- `errors.py`    what an answer can mean to its caller
- `retrying.py`  which answers are worth another try, and when
- `client.py`    `Kube`: get, list, apply, create, patch, delete
- `lease.py`     who of several operators may act
- `access.py`    whether it may do all that it has to
- `recorder.py`  Events for people
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
