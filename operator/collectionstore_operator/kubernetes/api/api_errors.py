"""What an answer of the API server means to its caller, as one tree.

ApiError                 it said no, or nothing; the text is the API server's
├── NotFound             there is no such object, or no such kind
├── AlreadyExists        an object of this name exists
├── Conflict             the object is another one, or has changed since it was read: read again
├── Expired              the list was too old to be continued: begin it again
├── Invalid              the object is not acceptable as it is: no use in repeating
├── Forbidden            a role is missing, or the namespace is going away
└── Unavailable          no usable answer, although asked repeatedly; what was asked may have happened
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collectionstore_operator.errors import OperatorError


class ApiError(OperatorError):
    """The API server did not do what was asked. `status` is of HTTP, 0 when there was no answer."""

    def __init__(self, message: str, *, status: int = 0, reason: str = "", details: Mapping[str, Any] | None = None):
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.details = details or {}

    @property
    def namespace_terminating(self) -> bool:
        """Whether it was refused because its namespace is being deleted."""
        return any(cause.get("reason") == "NamespaceTerminating" for cause in self.details.get("causes") or ())


class NotFound(ApiError):
    """There is no such object, or no such kind."""


class AlreadyExists(ApiError):
    """An object of this name exists."""


class Conflict(ApiError):
    """The object is another one, has changed since it was read, or a field of it belongs to somebody else."""


class Expired(ApiError):
    """The list was too old to be continued."""


class Invalid(ApiError):
    """The object is not acceptable as it is."""


class Forbidden(ApiError):
    """It may not be done: a role is missing, or the namespace is going away."""


class Unavailable(ApiError):
    """No usable answer came. What was asked may have happened."""


def error_of(status: int, answer: Mapping[str, Any], what: str) -> ApiError:
    """Return the error that an answer stands for; `what` says what was asked."""
    reason, message = str(answer.get("reason", "")), str(answer.get("message") or f"HTTP {status}")
    details = answer.get("details")
    kind = _kind_of(status, reason)
    text = f"{what}: {message}"
    return kind(text, status=status, reason=reason, details=details if isinstance(details, Mapping) else None)


def _kind_of(status: int, reason: str) -> type[ApiError]:
    if status == 409:
        return AlreadyExists if reason == "AlreadyExists" else Conflict
    if status == 410:
        return Expired
    return {400: Invalid, 401: Forbidden, 403: Forbidden, 404: NotFound, 422: Invalid}.get(status, Unavailable)
