"""What the URL table does not say of a route: its body, its answers, and which headers of a request it reads.

Each route of the table has a line here; a test compares the two.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple, TypeAlias

from collectionstore_node.access.configuration import AccessConfiguration
from collectionstore_node.access.roles import Role
from collectionstore_node.access.users import User
from collectionstore_node.api.handlers.aggregates import Aggregation
from collectionstore_node.api.handlers.catalog import NewCollection
from collectionstore_node.api.handlers.cluster import ClusterStatus, JointChange, NewCluster, SingleChange, Transfer
from collectionstore_node.api.handlers.commit_bodies import CommitBody
from collectionstore_node.api.handlers.consumers import Acknowledgement
from collectionstore_node.api.handlers.debug import NewLevel
from collectionstore_node.api.handlers.expiry import TouchDocument, TouchValue
from collectionstore_node.api.handlers.exports import Export
from collectionstore_node.api.handlers.found_changes import Deletion, FindAndModify, Modification
from collectionstore_node.api.handlers.indexes import NewIndex
from collectionstore_node.api.handlers.leases import NewLease
from collectionstore_node.api.handlers.locks import Acquisition, Release, Renewal
from collectionstore_node.api.handlers.login import Login, NewPassword
from collectionstore_node.api.handlers.queries import Distinct, Search, Selection
from collectionstore_node.api.handlers.tokens import NewToken, Rotation
from collectionstore_node.api.handlers.transaction_bodies import TransactionBody
from collectionstore_node.api.handlers.validation import ValidationRequest
from collectionstore_node.api.handlers.watching import ScopedWatching, Watching
from collectionstore_node.api.openapi.access_answers import (
    AccessFacts,
    Changed,
    Identity,
    LoggedOut,
    PasswordChanged,
    RoleFacts,
    RolePage,
    Session,
    TokenFacts,
    TokenMade,
    TokenPage,
    TokenRevoked,
    UserFacts,
    UserPage,
)
from collectionstore_node.api.openapi.answers import (
    AggregatedDocuments,
    Alive,
    BulkResult,
    ChangeEvent,
    ChangePage,
    CollectionFacts,
    CollectionPage,
    CollectionSettings,
    CommitResult,
    ConsumerChanged,
    ConsumerFacts,
    ConsumerList,
    ConsumerMade,
    Count,
    DistinctValues,
    DocumentPage,
    DocumentUpdated,
    DocumentWritten,
    EarlyAnswer,
    FoundDeleted,
    FoundUpdated,
    Healthy,
    ImportResult,
    Index,
    IndexDropped,
    IndexFacts,
    IndexList,
    LeaseFacts,
    LeaseGranted,
    LeasePage,
    LeaseRevoked,
    LockAcquired,
    LockFacts,
    LockPage,
    LockReleased,
    Modified,
    Ready,
    TransactionResult,
    ValidationReport,
    ValuePage,
    ValueWritten,
    WriteFate,
)
from collectionstore_node.service.membership import NodeStatus, RaftReport
from collectionstore_telemetry.logs import LevelReport
from collectionstore_telemetry.profiling import Tasks

Shape: TypeAlias = Any
"""A struct, or a tuple of several, for JSON; the text of a media type for anything else; a dict of several media types
with their structs, or None for text; None for no body."""

DOCUMENT: Final = dict[str, Any]
PATCHES: Final = {
    "application/json": DOCUMENT,
    "application/merge-patch+json": DOCUMENT,
    "application/json-patch+json": list[dict[str, Any]],
}
LINES: Final = "application/x-ndjson"
TABLE: Final = "text/csv"
BYTES: Final = "application/octet-stream"
TEXT: Final = "text/plain"
FILES: Final = {"text/css": None, "text/javascript": None, "image/svg+xml": None}

EVENTS: Final = {"application/json": ChangePage, LINES: ChangeEvent, "text/event-stream": str}
"""Which of them: by `wait` and by the Accept header."""

CREATES: Final = frozenset({"If-None-Match", "Idempotency-Key"})
WRITES: Final = frozenset({"If-Match", "If-None-Match", "Idempotency-Key"})
READS: Final = frozenset({"If-Match", "If-None-Match"})
CACHED: Final = frozenset({"If-None-Match"})
RESUMES: Final = frozenset({"Last-Event-ID"})
KEYED: Final = frozenset({"Idempotency-Key"})
UPDATES: Final = frozenset({"If-Match", "Idempotency-Key"})


class Optional(NamedTuple):
    """A body that may be missing."""

    shape: Any


class Operation(NamedTuple):
    """One route."""

    tag: str
    answers: dict[int, Shape]
    """By status, those that are no problems."""
    body: Shape = None
    headers: frozenset[str] = frozenset()


_COLLECTIONS: Final = "/api/v1/collections"
_COLLECTION: Final = f"{_COLLECTIONS}/{{collection}}"
_DOCUMENTS: Final = f"{_COLLECTION}/documents"
_ONE: Final = f"{_DOCUMENTS}/{{id}}"
_BUCKET: Final = "/api/v1/kv/{bucket}"
_KEY: Final = f"{_BUCKET}/{{key...}}"
_LEASES: Final = "/api/v1/leases"
_LOCKS: Final = "/api/v1/locks"
_CLUSTER: Final = "/api/v1/cluster"
_CONSUMERS: Final = "/api/v1/consumers"
_CONSUMER: Final = f"{_CONSUMERS}/{{name}}"
_ACCESS: Final = "/api/v1/access"
_USERS: Final = "/api/v1/users"
_USER: Final = f"{_USERS}/{{user}}"
_ROLES: Final = "/api/v1/roles"
_ROLE: Final = f"{_ROLES}/{{role}}"
_TOKENS: Final = "/api/v1/tokens"
_TOKEN: Final = f"{_TOKENS}/{{token}}"

# fmt: off
OPERATIONS: Final[dict[tuple[str, str], Operation]] = {
    ("GET", "/"): Operation("Pages", {200: Index}),
    ("GET", "/openapi.json"): Operation("Pages", {200: DOCUMENT}),
    ("GET", "/docs"): Operation("Pages", {200: "text/html", 304: None}, None, CACHED),
    ("GET", "/docs/page.css"): Operation("Pages", {200: "text/css", 304: None}, None, CACHED),
    ("GET", "/docs/page.js"): Operation("Pages", {200: "text/javascript", 304: None}, None, CACHED),
    ("GET", "/console"): Operation("Pages", {200: "text/html", 304: None}, None, CACHED),
    ("GET", "/console/{file...}"): Operation("Pages", {200: FILES, 304: None}, None, CACHED),
    ("GET", _COLLECTIONS): Operation("Collections", {200: CollectionPage}),
    ("POST", _COLLECTIONS): Operation("Collections", {201: CollectionFacts}, NewCollection, KEYED),
    ("GET", _COLLECTION): Operation("Collections", {200: CollectionFacts}),
    ("PUT", _COLLECTION): Operation(
        "Collections", {200: CollectionFacts, 201: CollectionFacts}, Optional(CollectionSettings), CREATES
    ),
    ("PATCH", _COLLECTION): Operation("Collections", {200: CollectionFacts}, CollectionSettings, UPDATES),
    ("DELETE", _COLLECTION): Operation("Collections", {200: CollectionFacts}, None, KEYED),
    ("GET", _DOCUMENTS): Operation("Documents", {200: DocumentPage}),
    ("POST", _DOCUMENTS): Operation("Documents", {201: DocumentWritten, 202: EarlyAnswer}, DOCUMENT, KEYED),
    ("GET", _ONE): Operation("Documents", {200: DOCUMENT, 304: None}, None, READS),
    ("PUT", _ONE): Operation(
        "Documents", {200: DocumentWritten, 201: DocumentWritten, 202: EarlyAnswer}, DOCUMENT, WRITES
    ),
    ("DELETE", _ONE): Operation("Documents", {200: DocumentWritten, 202: EarlyAnswer}, None, WRITES),
    ("PATCH", _ONE): Operation(
        "Documents", {200: DocumentUpdated, 201: DocumentUpdated, 202: EarlyAnswer}, PATCHES, WRITES
    ),
    ("POST", f"{_COLLECTION}:update"): Operation(
        "Documents", {200: FoundUpdated, 201: FoundUpdated}, Modification, KEYED
    ),
    ("POST", f"{_COLLECTION}:delete"): Operation("Documents", {200: FoundDeleted}, Deletion, KEYED),
    ("POST", f"{_COLLECTION}:findAndModify"): Operation(
        "Documents", {200: Modified, 201: Modified}, FindAndModify, KEYED
    ),
    ("POST", f"{_COLLECTION}:bulk"): Operation("Documents", {200: BulkResult, 207: BulkResult}, LINES, KEYED),
    ("GET", f"{_COLLECTION}:export"): Operation("Porting", {200: {LINES: None, TABLE: None}}),
    ("POST", f"{_COLLECTION}:export"): Operation("Porting", {200: {LINES: None, TABLE: None}}, Export),
    ("POST", f"{_COLLECTION}:import"): Operation(
        "Porting",
        {200: ImportResult, 207: {"application/json": ImportResult, LINES: None}},
        {LINES: None, TABLE: None},
        KEYED,
    ),
    ("POST", f"{_COLLECTION}:find"): Operation("Queries", {200: DocumentPage}, Search),
    ("POST", f"{_COLLECTION}:count"): Operation("Queries", {200: Count}, Selection),
    ("POST", f"{_COLLECTION}:distinct"): Operation("Queries", {200: DistinctValues}, Distinct),
    ("POST", f"{_COLLECTION}:aggregate"): Operation("Queries", {200: AggregatedDocuments}, Aggregation),
    ("POST", f"{_COLLECTION}:validate"): Operation("Collections", {200: ValidationReport}, ValidationRequest),
    ("GET", f"{_COLLECTION}/indexes"): Operation("Indexes", {200: IndexList}),
    ("POST", f"{_COLLECTION}/indexes"): Operation("Indexes", {201: IndexFacts}, NewIndex, KEYED),
    ("GET", f"{_COLLECTION}/indexes/{{name}}"): Operation("Indexes", {200: IndexFacts}),
    ("DELETE", f"{_COLLECTION}/indexes/{{name}}"): Operation("Indexes", {200: IndexDropped}, None, KEYED),
    ("GET", _BUCKET): Operation("Values", {200: ValuePage}),
    ("GET", _KEY): Operation("Values", {200: "*/*", 304: None}, None, READS),
    ("POST", f"{_COLLECTION}:touch"): Operation("Documents", {200: DocumentWritten}, TouchDocument, UPDATES),
    ("POST", f"{_BUCKET}:touch"): Operation("Values", {200: ValueWritten}, TouchValue, UPDATES),
    ("GET", _LEASES): Operation("Leases", {200: LeasePage}),
    ("POST", _LEASES): Operation("Leases", {201: LeaseGranted}, NewLease, KEYED),
    ("GET", f"{_LEASES}/{{lease}}"): Operation("Leases", {200: LeaseFacts}),
    ("DELETE", f"{_LEASES}/{{lease}}"): Operation("Leases", {200: LeaseRevoked}, None, KEYED),
    ("POST", f"{_LEASES}/{{lease}}:keepalive"): Operation("Leases", {200: LeaseGranted}, None, KEYED),
    ("GET", _LOCKS): Operation("Locks", {200: LockPage}),
    ("GET", f"{_LOCKS}/{{lock}}"): Operation("Locks", {200: LockFacts}),
    ("POST", f"{_LOCKS}/{{lock}}:acquire"): Operation("Locks", {201: LockAcquired}, Acquisition, KEYED),
    ("POST", f"{_LOCKS}/{{lock}}:renew"): Operation("Locks", {200: LockAcquired}, Renewal, KEYED),
    ("POST", f"{_LOCKS}/{{lock}}:release"): Operation("Locks", {200: LockReleased}, Release, KEYED),
    ("PUT", _KEY): Operation("Values", {200: ValueWritten, 201: ValueWritten, 202: EarlyAnswer}, BYTES, WRITES),
    ("DELETE", _KEY): Operation("Values", {200: ValueWritten, 202: EarlyAnswer}, None, WRITES),
    ("GET", f"{_COLLECTION}:watch"): Operation("Changes", {200: EVENTS}, None, RESUMES),
    ("POST", f"{_COLLECTION}:watch"): Operation("Changes", {200: EVENTS}, Watching, RESUMES),
    ("GET", f"{_BUCKET}:watch"): Operation("Changes", {200: EVENTS}, None, RESUMES),
    ("POST", f"{_BUCKET}:watch"): Operation("Changes", {200: EVENTS}, Watching, RESUMES),
    ("GET", "/api/v1/:watch"): Operation("Changes", {200: EVENTS}, None, RESUMES),
    ("POST", "/api/v1/:watch"): Operation("Changes", {200: EVENTS}, Watching, RESUMES),
    ("GET", _CONSUMERS): Operation("Changes", {200: ConsumerList}),
    ("GET", _CONSUMER): Operation("Changes", {200: ConsumerFacts}),
    ("PUT", _CONSUMER): Operation("Changes", {200: ConsumerMade, 201: ConsumerMade}, ScopedWatching, KEYED),
    ("DELETE", _CONSUMER): Operation("Changes", {200: ConsumerChanged}, None, KEYED),
    ("POST", f"{_CONSUMER}:ack"): Operation("Changes", {200: ConsumerChanged}, Acknowledgement, KEYED),
    ("POST", "/api/v1/transactions"): Operation(
        "Transactions", {200: TransactionResult, 202: EarlyAnswer}, TransactionBody, KEYED
    ),
    ("GET", "/api/v1/tickets/{ticket}"): Operation("Transactions", {200: WriteFate}),
    ("DELETE", "/api/v1/tickets/{ticket}"): Operation("Transactions", {200: WriteFate}),
    ("POST", "/api/v1/transactions:commit"): Operation(
        "Transactions", {200: CommitResult, 202: EarlyAnswer}, CommitBody, KEYED
    ),
    ("GET", _CLUSTER): Operation("Cluster", {200: ClusterStatus}),
    ("POST", f"{_CLUSTER}/bootstrap"): Operation("Cluster", {200: NodeStatus}, NewCluster),
    ("POST", f"{_CLUSTER}/members"): Operation("Cluster", {200: ClusterStatus}, (SingleChange, JointChange)),
    ("POST", f"{_CLUSTER}/transfer-leadership"): Operation("Cluster", {200: NodeStatus}, Transfer),
    ("GET", "/api/v1/whoami"): Operation("Access control", {200: Identity}),
    ("POST", "/api/v1/login"): Operation("Access control", {201: Session}, Optional(Login)),
    ("POST", "/api/v1/logout"): Operation("Access control", {200: LoggedOut}),
    ("PUT", f"{_USERS}/{{user}}/password"): Operation("Access control", {200: PasswordChanged}, NewPassword),
    ("DELETE", f"{_USERS}/{{user}}/password"): Operation("Access control", {200: PasswordChanged}),
    ("GET", _ACCESS): Operation("Access control", {200: AccessFacts}),
    ("PUT", _ACCESS): Operation(
        "Access control", {200: Changed, 201: Changed}, AccessConfiguration, WRITES
    ),
    ("GET", _USERS): Operation("Access control", {200: UserPage}),
    ("GET", _USER): Operation("Access control", {200: UserFacts}),
    ("PUT", _USER): Operation("Access control", {200: Changed, 201: Changed}, User, WRITES),
    ("DELETE", _USER): Operation("Access control", {200: Changed}, None, UPDATES),
    ("GET", _ROLES): Operation("Access control", {200: RolePage}),
    ("GET", _ROLE): Operation("Access control", {200: RoleFacts}),
    ("PUT", _ROLE): Operation("Access control", {200: Changed, 201: Changed}, Role, WRITES),
    ("DELETE", _ROLE): Operation("Access control", {200: Changed}, None, UPDATES),
    ("GET", _TOKENS): Operation("Access control", {200: TokenPage}),
    ("POST", _TOKENS): Operation("Access control", {201: TokenMade}, NewToken),
    ("GET", _TOKEN): Operation("Access control", {200: TokenFacts}),
    ("DELETE", _TOKEN): Operation("Access control", {200: TokenRevoked}, None, KEYED),
    ("POST", f"{_TOKEN}:rotate"): Operation("Access control", {200: TokenMade}, Rotation),
    ("GET", "/api/v1/backup/state"): Operation("Backups", {200: BYTES}),
    ("GET", "/api/v1/backup/log"): Operation("Backups", {200: BYTES}),
    ("GET", "/api/v1/stream"): Operation("Streams", {101: None}),
    ("GET", "/livez"): Operation("Probes", {200: Alive}),
    ("GET", "/readyz"): Operation("Probes", {200: Ready}),
    ("GET", "/health"): Operation("Probes", {200: Healthy}),
    ("GET", "/status"): Operation("Probes", {200: NodeStatus}),
    ("GET", "/metrics"): Operation("Probes", {200: TEXT}),
    ("GET", "/debug/raft"): Operation("Debugging", {200: RaftReport}),
    ("GET", "/debug/tasks"): Operation("Debugging", {200: Tasks}),
    ("GET", "/debug/profile"): Operation("Debugging", {200: TEXT}),
    ("GET", "/debug/log-level"): Operation("Debugging", {200: LevelReport}),
    ("PUT", "/debug/log-level"): Operation("Debugging", {200: LevelReport}, NewLevel),
}
# fmt: on
