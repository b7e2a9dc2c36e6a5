"""The query parameters of a request.

Every route names those it takes and refuses all others, because a misspelled parameter that is silently ignored changes
what a request means. A parameter may be given once.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qsl

import msgspec

from collectionstore_node.access.bodies import USER_NAME, USER_NAME_RULE
from collectionstore_node.api.http.limits import HttpLimits
from collectionstore_node.api.http.lives import lease_id, ttl_ms
from collectionstore_node.api.http.names import check_text, quoted
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.service import BoundedStaleness, Consistency, ReadConsistency
from collectionstore_node.service.lives import Life
from collectionstore_node.service.operations import Image, ReadPoint, at_least

WRITE: Final = frozenset({"timeout", "redirect"})
ACKED: Final = WRITE | {"ack"}
LIVING: Final = ACKED | {"ttl", "lease"}
CHANGE: Final = ACKED | {"when"}
REPLACE: Final = CHANGE | LIVING
PATCH: Final = REPLACE | {"upsert", "return", "array_filters"}
BULK: Final = WRITE | {"mode"}
READ: Final = WRITE | {"consistency", "max_staleness", "min_revision"}
READ_PAST: Final = READ | {"at_revision"}
PAGE: Final = READ | {"limit", "cursor"}
LIST: Final = PAGE | {"prefix"}
WATCH: Final = frozenset(
    {"timeout", "consistency", "max_staleness", "from", "filter", "fields", "ops", "before", "wait", "consumer"}
)
WATCH_BODY: Final = frozenset({"timeout", "consistency", "max_staleness", "wait"})
LIST_DOCUMENTS: Final = LIST | READ_PAST | {"filter", "sort", "fields", "hint"}
LIST_KEYS: Final = LIST | READ_PAST | {"values"}
TIMED: Final = frozenset({"timeout"})
LOCAL: Final = frozenset({"redirect"})
EXPORT_STATE: Final = TIMED | {"consistency"}
EXPORT_LOG: Final = TIMED | {"after"}
EXPORT: Final = READ_PAST | {"format"}
EXPORT_FOUND: Final = EXPORT | {"filter", "fields", "after_id", "hint"}
IMPORT: Final = WRITE | {"mode", "types", "max_errors", "skip", "progress", "trailer"}
PUT_ROLE: Final = WRITE | {"missing"}
LIST_TOKENS: Final = PAGE | {"user"}
SAMPLED: Final = frozenset({"seconds"})
NONE: Final[frozenset[str]] = frozenset()

MODES: Final = ("atomic", "ordered", "unordered")
"""Of a bulk."""
IMPORT_MODES: Final = ("insert", "replace", "skip", "upsert")
FORMATS: Final = ("csv", "ndjson")
IMPORT_ERRORS_MAX: Final = 1_000
"""Lines that may fail in one import."""

TIMEOUT_MIN_S: Final = 0.001
STALENESS_MIN_S: Final = 0.001
STALENESS_MAX_S: Final = 3_600.0
PARAMETERS_MAX: Final = 16
_SKIP_MAX: Final = 1 << 53
REVISION_MAX: Final = 10**18 - 1
"""Of the digits that `min_revision` and `at_revision` may have."""

_DURATION: Final = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(ms|s)")
_LIMIT: Final = re.compile(r"[0-9]{1,18}")
_INDEX: Final = re.compile(r"[0-9]{1,18}")
_SECONDS: Final = re.compile(r"[0-9]{1,3}")
_LINEARIZABLE, _STALE = Consistency.LINEARIZABLE.value, Consistency.STALE.value
"""Read once, for the hot path: `value` of an enum member is a call in Python."""


class Ack(enum.Enum):
    """When a write is answered."""

    MAJORITY = "majority"
    """With its outcome: durable on a majority, and applied."""
    LEADER = "leader"
    """Once the leader has it on its own disk, or with its outcome if that is known before."""
    QUEUED = "queued"
    """At once, with a ticket."""


class Options(msgspec.Struct, kw_only=True):
    """The parsed parameters; a handler reads those that its route takes. Shared by all requests without a query."""

    timeout_s: float
    """One budget for everything the request waits for: its body, forwarding, commit, apply."""
    consistency: ReadConsistency = Consistency.LINEARIZABLE
    max_staleness_s: float | None = None
    min_revision: int = 0
    at_revision: int | None = None
    redirect: bool = False
    """Answer 307 to the leader instead of forwarding."""
    prefix: str = ""
    limit: int = 0
    cursor: str | None = None
    values: bool = False
    filter: str | None = None
    sort: str | None = None
    fields: str | None = None
    when: str | None = None
    array_filters: str | None = None
    upsert: bool = False
    image: Image = Image.NONE
    """Which text of the document a write answers."""
    ack: Ack = Ack.MAJORITY
    mode: str | None = None
    """How a bulk is carried out, or what an import does with documents that exist."""
    after: int = 0
    """Index in the log."""
    after_id: str | None = None
    """The ID behind which an export begins."""
    hint: str | None = None
    """The index to use."""
    format: str | None = None
    """Of an export or import; None for what the headers say."""
    types: str | None = None
    """The types of columns of CSV."""
    max_errors: int = 100
    """Lines that may fail before an import ends."""
    skip: int = 0
    """Lines at the beginning of an import that are not applied."""
    progress: bool = False
    """Whether an import says how far it has come."""
    trailer_required: bool = False
    """Whether an import must end with its trailer."""
    life: Life | None = None
    """How long it lives what is written; None if the request does not say."""
    seconds: int = 10
    """Duration of a profile."""
    from_: str | None = None
    """Where a watch begins."""
    ops: str | None = None
    """The kinds of changes that it tells."""
    before: bool = False
    """Whether it tells documents as they were before."""
    missing: bool = False
    """Whether a role may name collections that do not exist."""
    user: str | None = None
    """Whose tokens are listed."""
    wait_s: float | None = None
    """How long a page of changes waits for some; None for a stream."""
    consumer: str | None = None


def default_options(limits: HttpLimits) -> Options:
    """Return the options of a request without a query."""
    return Options(timeout_s=limits.timeout_default_s, limit=limits.list_items_default)


def parse_options(query: str, allowed: frozenset[str], limits: HttpLimits) -> Options:
    """Return the options in `query`, the part behind the question mark. Raises `Problem`."""
    options = default_options(limits)
    seen: set[str] = set()
    for name, value in _pairs(query):
        if name not in allowed:
            known = ", ".join(sorted(allowed)) or "none"
            raise Problem("unknown_parameter", f"{quoted(name)} is not a parameter here; known: {known}")
        if name in seen:
            raise Problem("invalid_parameter", f"{name} is given twice")
        seen.add(name)
        _PARSERS[name](options, value, limits)
    if options.max_staleness_s is not None:
        if options.consistency is not Consistency.STALE:
            raise Problem("invalid_parameter", "max_staleness is for reads with consistency=stale")
        options.consistency = BoundedStaleness(options.max_staleness_s)
    if options.at_revision is not None:
        for name in ("consistency", "max_staleness", "min_revision"):
            if name in seen:
                raise Problem("invalid_parameter", f"{name} does not go with at_revision: that state never changes")
        options.consistency = ReadPoint(at_revision=options.at_revision)
    elif options.min_revision:
        options.consistency = at_least(options.consistency, options.min_revision)
    return options


def _pairs(query: str) -> list[tuple[str, str]]:
    try:
        raw = query.encode(errors="surrogateescape").decode()
        return parse_qsl(raw, keep_blank_values=True, errors="strict", max_num_fields=PARAMETERS_MAX)
    except UnicodeDecodeError:
        raise Problem("invalid_parameter", "the query is not valid UTF-8 after percent-decoding") from None
    except ValueError:
        raise Problem("invalid_parameter", f"a query has at most {PARAMETERS_MAX} parameters") from None


def _timeout(options: Options, value: str, limits: HttpLimits) -> None:
    seconds = duration_s(value)
    if not TIMEOUT_MIN_S <= seconds <= limits.timeout_max_s:
        raise Problem(
            "invalid_parameter",
            f"timeout is {quoted(value)}; allowed are 1ms to {limits.timeout_max_s:g}s, like 500ms or 2s",
        )
    options.timeout_s = seconds


def duration_s(value: str) -> float:
    """Return a number of seconds, 0 if `value` is none."""
    found = _DURATION.fullmatch(value)
    return float(found[1]) / (1000 if found[2] == "ms" else 1) if found else 0.0


def _wait(options: Options, value: str, limits: HttpLimits) -> None:
    if not _DURATION.fullmatch(value) or not 0 <= duration_s(value) <= limits.timeout_max_s:
        raise Problem(
            "invalid_parameter",
            f"wait is {quoted(value)}; allowed are 0s to {limits.timeout_max_s:g}s, like 500ms or 30s",
        )
    options.wait_s = duration_s(value)


def _from(options: Options, value: str, limits: HttpLimits) -> None:
    options.from_ = value


def _ops(options: Options, value: str, limits: HttpLimits) -> None:
    options.ops = value


def _before(options: Options, value: str, limits: HttpLimits) -> None:
    options.before = _choice("before", value, "false", "true")


def _consumer(options: Options, value: str, limits: HttpLimits) -> None:
    options.consumer = value


def _max_staleness(options: Options, value: str, limits: HttpLimits) -> None:
    seconds = duration_s(value)
    if not STALENESS_MIN_S <= seconds <= STALENESS_MAX_S:
        raise Problem(
            "invalid_parameter",
            f"max_staleness is {quoted(value)}; allowed are 1ms to {STALENESS_MAX_S:g}s, like 500ms or 10s",
        )
    options.max_staleness_s = seconds


def _ttl(options: Options, value: str, limits: HttpLimits) -> None:
    _no_life(options)
    options.life = Life(ttl_ms(value, "ttl", "invalid_parameter"))


def _lease(options: Options, value: str, limits: HttpLimits) -> None:
    _no_life(options)
    options.life = Life(lease=lease_id(value, "lease", "invalid_parameter"))


def _no_life(options: Options) -> None:
    if options.life is not None:
        raise Problem("invalid_parameter", "give a ttl or a lease, not both")


def _consistency(options: Options, value: str, limits: HttpLimits) -> None:
    stale = _choice("consistency", value, _LINEARIZABLE, _STALE)
    options.consistency = Consistency.STALE if stale else Consistency.LINEARIZABLE


def _min_revision(options: Options, value: str, limits: HttpLimits) -> None:
    options.min_revision = _revision("min_revision", value)


def _at_revision(options: Options, value: str, limits: HttpLimits) -> None:
    options.at_revision = _revision("at_revision", value)


def _revision(name: str, value: str) -> int:
    """Return the revision in `value`. Raises `Problem` when it is none."""
    if not _INDEX.fullmatch(value) or not int(value):
        raise Problem("invalid_parameter", f"{name} is {quoted(value)}; it must be a revision, a number from 1 on")
    return int(value)


def _redirect(options: Options, value: str, limits: HttpLimits) -> None:
    options.redirect = _choice("redirect", value, "false", "true")


def _values(options: Options, value: str, limits: HttpLimits) -> None:
    options.values = _choice("values", value, "false", "true")


def _prefix(options: Options, value: str, limits: HttpLimits) -> None:
    options.prefix = check_text(value, limits.key_bytes_max, "prefix") if value else ""


def _limit(options: Options, value: str, limits: HttpLimits) -> None:
    # Syntax only: how many items a page may have is the store's limit.
    if not _LIMIT.fullmatch(value):
        raise Problem("invalid_parameter", f"limit is {quoted(value)}; it must be a whole number, such as 100")
    options.limit = int(value)


def _seconds(options: Options, value: str, limits: HttpLimits) -> None:
    if not _SECONDS.fullmatch(value) or not 1 <= int(value) <= limits.profile_seconds_max:
        raise Problem("invalid_parameter", f"seconds is {quoted(value)}; allowed are 1 to {limits.profile_seconds_max}")
    options.seconds = int(value)


def _after(options: Options, value: str, limits: HttpLimits) -> None:
    if not _INDEX.fullmatch(value):
        raise Problem("invalid_parameter", f"after is {quoted(value)}; it must be the index of an entry, 0 for none")
    options.after = int(value)


def _cursor(options: Options, value: str, limits: HttpLimits) -> None:
    options.cursor = value


def _filter(options: Options, value: str, limits: HttpLimits) -> None:
    options.filter = value


def _sort(options: Options, value: str, limits: HttpLimits) -> None:
    options.sort = value


def _fields(options: Options, value: str, limits: HttpLimits) -> None:
    options.fields = value


def _when(options: Options, value: str, limits: HttpLimits) -> None:
    options.when = value


def _array_filters(options: Options, value: str, limits: HttpLimits) -> None:
    options.array_filters = value


def _upsert(options: Options, value: str, limits: HttpLimits) -> None:
    options.upsert = _choice("upsert", value, "false", "true")


def _return(options: Options, value: str, limits: HttpLimits) -> None:
    options.image = Image.AFTER if _choice("return", value, "before", "after") else Image.BEFORE


def _ack(options: Options, value: str, limits: HttpLimits) -> None:
    try:
        options.ack = Ack(value)
    except ValueError:
        allowed = ", ".join(one.value for one in Ack)
        raise Problem("invalid_parameter", f"ack is {quoted(value)}; allowed are {allowed}") from None


def _mode(options: Options, value: str, limits: HttpLimits) -> None:
    # What a route takes of them is its own, see `mode_of`.
    options.mode = value


def mode_of(options: Options, allowed: tuple[str, ...], default: str) -> str:
    """Return the mode. Raises `Problem` when a route does not know it."""
    mode = options.mode
    if mode is None:
        return default
    if mode not in allowed:
        raise Problem("invalid_parameter", f"mode is {quoted(mode)}; allowed are {', '.join(allowed)}")
    return mode


def _after_id(options: Options, value: str, limits: HttpLimits) -> None:
    options.after_id = check_text(value, limits.key_bytes_max, "after_id")


def _hint(options: Options, value: str, limits: HttpLimits) -> None:
    options.hint = value


def _format(options: Options, value: str, limits: HttpLimits) -> None:
    if value not in FORMATS:
        raise Problem("invalid_parameter", f"format is {quoted(value)}; allowed are {', '.join(FORMATS)}")
    options.format = value


def _types(options: Options, value: str, limits: HttpLimits) -> None:
    options.types = value


def _max_errors(options: Options, value: str, limits: HttpLimits) -> None:
    options.max_errors = _whole("max_errors", value, IMPORT_ERRORS_MAX)


def _skip(options: Options, value: str, limits: HttpLimits) -> None:
    options.skip = _whole("skip", value, _SKIP_MAX)


def _progress(options: Options, value: str, limits: HttpLimits) -> None:
    options.progress = _choice("progress", value, "false", "true")


def _trailer(options: Options, value: str, limits: HttpLimits) -> None:
    options.trailer_required = _choice("trailer", value, "optional", "required")


def _missing(options: Options, value: str, limits: HttpLimits) -> None:
    options.missing = _choice("missing", value, "refuse", "allow")


def _user(options: Options, value: str, limits: HttpLimits) -> None:
    if not USER_NAME.fullmatch(value):
        raise Problem("invalid_parameter", f"user is {quoted(value)}; allowed are {USER_NAME_RULE}")
    options.user = value


def _whole(name: str, value: str, most: int) -> int:
    if not _LIMIT.fullmatch(value) or int(value) > most:
        raise Problem("invalid_parameter", f"{name} is {quoted(value)}; allowed are 0 to {most}")
    return int(value)


def _choice(name: str, value: str, off: str, on: str) -> bool:
    """Return whether `value` is `on`. Raises `Problem` when it is neither."""
    if value not in (off, on):
        raise Problem("invalid_parameter", f"{name} is {quoted(value)}; allowed are {off} and {on}")
    return value == on


_PARSERS: Final[dict[str, Callable[[Options, str, HttpLimits], None]]] = {
    "timeout": _timeout,
    "consistency": _consistency,
    "max_staleness": _max_staleness,
    "min_revision": _min_revision,
    "at_revision": _at_revision,
    "redirect": _redirect,
    "ttl": _ttl,
    "lease": _lease,
    "seconds": _seconds,
    "prefix": _prefix,
    "limit": _limit,
    "cursor": _cursor,
    "after": _after,
    "after_id": _after_id,
    "filter": _filter,
    "sort": _sort,
    "fields": _fields,
    "hint": _hint,
    "format": _format,
    "types": _types,
    "max_errors": _max_errors,
    "skip": _skip,
    "progress": _progress,
    "trailer": _trailer,
    "missing": _missing,
    "user": _user,
    "values": _values,
    "when": _when,
    "array_filters": _array_filters,
    "upsert": _upsert,
    "return": _return,
    "mode": _mode,
    "ack": _ack,
    "from": _from,
    "ops": _ops,
    "before": _before,
    "wait": _wait,
    "consumer": _consumer,
}
