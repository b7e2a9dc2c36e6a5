"""Errors of the API server, as one tree that says what the caller should do.

ApiError                 an error response, or none at all; the message is the API server's
├── NotFound             no such object, or no such kind
├── AlreadyExists        an object of this name exists
├── Conflict             another object by now, or changed since it was read: read it again
├── Expired              the continue token of a list has expired: list again from the start
├── OverBudget           an eviction that a PodDisruptionBudget does not allow now: observe again
├── Invalid              the object does not pass validation: do not retry
├── Forbidden            a permission is missing, or the namespace is terminating
└── Unavailable          no usable response after all retries; the request may have taken effect
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from collectionstore_operator.errors import OperatorError


class ApiError(OperatorError):
    """A failed request. `status` is the HTTP status code, 0 without a response."""

    def __init__(self, message: str, *, status: int = 0, reason: str = "", details: Mapping[str, Any] | None = None):
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.details = details or {}

    @property
    def namespace_terminating(self) -> bool:
        """Whether the request was refused because its namespace is terminating."""
        return any(cause.get("reason") == "NamespaceTerminating" for cause in self.details.get("causes") or ())


class NotFound(ApiError):
    """No such object, or no such kind."""


class AlreadyExists(ApiError):
    """An object of this name exists."""


class Conflict(ApiError):
    """Another object by now, changed since it was read, or a field is owned by another field manager."""


class Expired(ApiError):
    """The continue token of a list has expired."""


class OverBudget(ApiError):
    """A PodDisruptionBudget does not allow the eviction now."""


class Invalid(ApiError):
    """The object does not pass validation."""


class Forbidden(ApiError):
    """A permission is missing, or the namespace is terminating."""


class Unavailable(ApiError):
    """No usable response. The request may have taken effect."""


def error_of(status: int, answer: Mapping[str, Any], what: str) -> ApiError:
    """Return the error for a response; `what` names the request."""
    reason, message = str(answer.get("reason", "")), str(answer.get("message") or f"HTTP {status}")
    details = answer.get("details")
    causes = (details.get("causes") or ()) if isinstance(details, Mapping) else ()
    over_budget = status == 429 and any(cause.get("reason") == "DisruptionBudget" for cause in causes)
    kind = OverBudget if over_budget else _kind_of(status, reason)
    text = f"{what}: {message}"
    return kind(text, status=status, reason=reason, details=details if isinstance(details, Mapping) else None)


def _kind_of(status: int, reason: str) -> type[ApiError]:
    if status == 409:
        return AlreadyExists if reason == "AlreadyExists" else Conflict
    if status == 410:
        return Expired
    return {400: Invalid, 401: Forbidden, 403: Forbidden, 404: NotFound, 422: Invalid}.get(status, Unavailable)
