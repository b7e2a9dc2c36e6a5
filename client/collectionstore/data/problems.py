"""What a person is told of an error of the client, and the exit code of its class. No text holds a credential."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from collectionstore import errors
from collectionstore.cli.exit_codes import CommandError, ExitCode
from collectionstore.render.json_text import printable

PLACES_MAX: Final = 10
"""How many places of one mistake are shown."""
_CODES: Final[tuple[tuple[type[errors.CollectionStoreError], ExitCode], ...]] = (
    (errors.Unauthorized, ExitCode.UNAUTHORIZED),
    (errors.Forbidden, ExitCode.FORBIDDEN),
    (errors.NotFound, ExitCode.NOT_FOUND),
    (errors.HistoryLost, ExitCode.NOT_FOUND),
    (errors.PreconditionFailed, ExitCode.CONFLICT),
    (errors.Conflict, ExitCode.CONFLICT),
    (errors.OutcomeUnknown, ExitCode.UNKNOWN),
    (errors.DeadlineExceeded, ExitCode.TIMED_OUT),
    (errors.ConnectionFailure, ExitCode.UNAVAILABLE),
    (errors.Unavailable, ExitCode.UNAVAILABLE),
    (errors.InsufficientStorage, ExitCode.UNAVAILABLE),
    (errors.BadRequest, ExitCode.INVALID_RESOURCE),
    (errors.Unprocessable, ExitCode.INVALID_RESOURCE),
    (errors.ConfigurationError, ExitCode.USAGE),
    (errors.InvalidArgument, ExitCode.USAGE),
)
_ADVICE: Final = {
    "unauthorized": "Log in: csctl login, or give credentials to the context: csctl context set",
    "collection_not_found": "Create it: csctl collection create NAME",
    "unknown_route": "The cluster is of a version that does not have it.",
    "overloaded": "The store has too much to do; try again later.",
    "history_gone": "The history of that revision is not kept any more.",
    "upgrade_pending": "The cluster is being upgraded; try again when all members run one version.",
}


class DataError(CommandError):
    """A command on data failed; `code` is the store's name of the reason, empty without an answer."""

    def __init__(self, text: str, exit_code: ExitCode, *, code: str = "") -> None:
        super().__init__(text)
        self.exit_code = exit_code
        self.code = code


class PartlyDone(CommandError):
    """Some of what was asked for was done, and some was not; the text counts both."""

    exit_code = ExitCode.PARTLY


def as_command_error(error: errors.CollectionStoreError, what: str) -> DataError:
    """Return the error of a command; `what` names what was tried, such as `cannot read books/dune`."""
    code = getattr(error, "code", "")
    lines = [f"{what}: {printable(_text(error))}"]
    if isinstance(error, errors.ProblemError):
        lines = _with_places(what, error)
    if error.outcome == "unknown":
        lines.append("It is not known whether it was applied: look before you try again.")
    elif advice := _ADVICE.get(code):
        lines.append(advice)
    if error.request_id and getattr(error, "status", 500) >= 500:
        lines.append(f"Request {printable(str(error.request_id))[:80]}, as the logs of the store call it.")
    return DataError("\n".join(lines), exit_code_of(error), code=code)


def tell_many(run: Callable[[], None], progress: dict[str, int]) -> None:
    """Run a change of many documents; an error after the first of them says how many were changed."""
    try:
        run()
    except DataError as error:
        if any(progress.values()):
            counts = ", ".join(f"{count} {name}" for name, count in progress.items() if count)
            raise PartlyDone(f"{error}\nBefore that: {counts}.") from error
        raise


def exit_code_of(error: errors.CollectionStoreError) -> ExitCode:
    """Return the exit code of an error's class; what may have been applied comes first."""
    if error.outcome == "unknown" and not isinstance(error, errors.ConfigurationError):
        return ExitCode.UNKNOWN
    if isinstance(error, errors.DeadlineExceeded) and error.last_error is not None:
        # What kept it from being done says more than that the time was over.
        return exit_code_of(error.last_error)
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.FAILED)


def _text(error: errors.CollectionStoreError) -> str:
    if isinstance(error, errors.ProblemError):
        return f"{error.detail or 'refused'} ({error.code})"
    return str(error)


def _with_places(what: str, error: errors.ProblemError) -> list[str]:
    """Return the lines of a problem; where its text is that of its only place, it is said once."""
    places = _places(error)
    if len(places) == 1 and places[0].endswith(f": {printable(error.detail)}"):
        return [f"{what}: {places[0].strip()} ({printable(error.code)})"]
    return [f"{what}: {printable(_text(error))}", *places]


def _places(error: errors.ProblemError) -> list[str]:
    found = error.details.get("errors")
    places = [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []
    lines = [
        f"  {printable(str(one.get('pointer') or '/'))}: {printable(str(one.get('detail', '')))}" for one in places
    ]
    more = [f"  and {len(lines) - PLACES_MAX} more"] if len(lines) > PLACES_MAX else []
    return lines[:PLACES_MAX] + more
