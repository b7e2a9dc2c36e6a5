"""What each operation needs: verbs on resources, by the caller's rights. Pure.

One rule for every type of `operations.Operation`; what has none is refused. A rule decides what needs no document: what
of a collection a caller sees, and may write, is decided where documents are read (`seeing`) and where commands are
applied (`statemachine.restrictions`). docs/adr/0035 has the table.

Refusals name the verb and the resource, and say nothing of what is there: a collection that does not exist is refused
by the same words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, get_args

from collectionstore_node.access.callers import Caller, Method
from collectionstore_node.access.rights import Rights
from collectionstore_node.access.verbs import Kind, Verb
from collectionstore_node.changes import Scope
from collectionstore_node.errors import Forbidden
from collectionstore_node.service.access_requests import (
    AccessAction,
    AccessRead,
    CreateToken,
    RevokeToken,
    SetPassword,
)
from collectionstore_node.service.exports import ReadLog, ReadState
from collectionstore_node.service.membership import Bootstrap, MembersRequest, ReadCluster, TransferLeadership
from collectionstore_node.service.operations import (
    LOCKS,
    AckConsumer,
    AggregateDocuments,
    Commit,
    ConfigureCollection,
    CountDocuments,
    CreateCollection,
    CreateIndex,
    Delete,
    DeleteConsumer,
    DistinctValues,
    DocumentRef,
    DropCollection,
    DropIndex,
    Expiring,
    ExportDocuments,
    FindDocuments,
    Get,
    GrantLease,
    GuardedTransaction,
    Image,
    Insert,
    KeepLease,
    KeyRef,
    ListCollections,
    ListDocuments,
    ListKeys,
    ListLeases,
    Put,
    PutConsumer,
    ReadCollection,
    ReadConsumers,
    ReadIndexes,
    ReadLease,
    Ref,
    RevokeAttached,
    RevokeLease,
    Settle,
    Touch,
    Transaction,
    TransactionStep,
    Update,
    UpdateForm,
    ValidateDocuments,
    WatchChanges,
)

_CLUSTER: Final = (Kind.CLUSTER, "")
ACCESS_ACTIONS: Final = get_args(AccessAction)
ACCESS_READS: Final = get_args(AccessRead)


def authorize(operation: Any, rights: Rights, caller: Caller | None) -> None:
    """Refuse an operation that `caller`, who has `rights`, may not make. Raises `Forbidden`."""
    rule = RULES.get(type(operation))
    if rule is None:
        # Closed: an operation that came later and has no rule is for those who may do everything.
        raise Forbidden(Verb.ADMIN, *_CLUSTER)
    try:
        rule(operation, rights)
    except Forbidden:
        own = _OWN.get(type(operation))
        if own is None or caller is None or not own(operation, caller):
            raise


def require(rights: Rights, verb: Verb, kind: Kind, name: str = "") -> None:
    """Refuse a caller without a verb on a resource. Raises `Forbidden`."""
    if not rights.allows(verb, kind, name):
        raise Forbidden(verb, kind, name)


def resource_of(ref: Ref) -> tuple[Kind, str]:
    """Return what a document or raw value belongs to; locks belong to the cluster."""
    if isinstance(ref, DocumentRef):
        return Kind.COLLECTION, ref.collection
    return bucket_of(ref.bucket)


def bucket_of(bucket: str) -> tuple[Kind, str]:
    """Return the resource of the values of a bucket."""
    return _CLUSTER if bucket == LOCKS else (Kind.BUCKET, bucket)


def may_follow(rights: Rights, scope: Scope) -> bool:
    """Whether changes of a scope are told to a caller; of the store, as far as each change is."""
    kind, name = _scope(scope)
    if kind is Kind.CLUSTER and scope.kind == "store":
        return rights.allows(Verb.WATCH, kind, name)
    return rights.allows(Verb.WATCH, kind, name) and rights.allows(Verb.READ, kind, name)


def reading_verb(rights: Rights, collection: str) -> Verb:
    """Return the verb by whose rules an export reads: those who back up need not be those who read."""
    return Verb.READ if rights.allows(Verb.READ, Kind.COLLECTION, collection) else Verb.BACKUP


def require_whole(rights: Rights, collection: str) -> None:
    """Refuse a caller who does not see every document of a collection, and all of it. Raises `Forbidden`."""
    require(rights, Verb.READ, Kind.COLLECTION, collection)
    if rights.view(collection) is not None:
        raise Forbidden(Verb.READ, Kind.COLLECTION, collection, of="every document, and all fields, ")


def _scope(scope: Scope) -> tuple[Kind, str]:
    match scope.kind:
        case "collection":
            return Kind.COLLECTION, scope.name
        case "bucket":
            return bucket_of(scope.name)
    return _CLUSTER


def _read(ref: Ref, rights: Rights) -> None:
    require(rights, Verb.READ, *resource_of(ref))


def _write_once(write: Put | Delete, rights: Rights) -> None:
    require(rights, Verb.WRITE, *resource_of(write.ref))


def _write(write: Put | Delete | Update | Expiring | Touch, rights: Rights) -> None:
    resource = resource_of(write.ref)
    require(rights, Verb.WRITE, *resource)
    if isinstance(write, Expiring | Touch) and write.lease:
        require(rights, Verb.WRITE, *_CLUSTER)
    inner = write.write if isinstance(write, Expiring) else write
    if isinstance(inner, Update) and _computes(inner):
        # Its outcome tells what was there.
        require(rights, Verb.READ, *resource)


def _computes(update: Update) -> bool:
    """Whether an update, or its answer, depends on what is in the document."""
    return update.form < UpdateForm.REPLACE or bool(update.when) or update.image is not Image.NONE


def _step(step: TransactionStep, rights: Rights) -> None:
    require(rights, Verb.TRANSACT, *resource_of(step.ref))
    if isinstance(step, Get):
        _read(step.ref, rights)
    else:
        _write(step, rights)


def _condition(refs: Iterable[tuple[Kind, str]], rights: Rights) -> None:
    # A condition is a read: without this it would tell, by one bit, what is in there.
    for resource in refs:
        require(rights, Verb.TRANSACT, *resource)
        require(rights, Verb.READ, *resource)


def _transaction(transaction: Transaction, rights: Rights) -> None:
    _condition((resource_of(one.ref) for one in transaction.compare), rights)
    # Both branches: which one runs is not known here, and must not tell.
    for step in (*transaction.then, *transaction.otherwise):
        _step(step, rights)


def _guarded(guarded: GuardedTransaction, rights: Rights) -> None:
    _transaction(guarded.transaction, rights)
    _condition(((Kind.COLLECTION, one.query.collection) for one in guarded.guards), rights)


def _commit(commit: Commit, rights: Rights) -> None:
    _condition((resource_of(one.ref) for one in commit.targets), rights)
    _condition(((Kind.COLLECTION, one.query.collection) for one in commit.queries), rights)
    for step in commit.writes:
        _step(step, rights)


def _configure(configure: ConfigureCollection, rights: Rights) -> None:
    require(rights, Verb.CREATE if configure.create else Verb.ADMIN, Kind.COLLECTION, configure.collection)


def _create_index(create: CreateIndex, rights: Rights) -> None:
    require(rights, Verb.INDEX, Kind.COLLECTION, create.collection)
    if create.definition.unique:
        # That it cannot be built tells that two documents have the same values.
        require_whole(rights, create.collection)


def _aggregate(aggregate: AggregateDocuments, rights: Rights) -> None:
    require(rights, Verb.READ, Kind.COLLECTION, aggregate.collection)
    # BEFORE anything is read, whichever of them the documents would lead to.
    for name, _ in aggregate.pipeline.collections:
        require(rights, Verb.READ, Kind.COLLECTION, name)


def _export(export: ExportDocuments, rights: Rights) -> None:
    if not rights.allows(Verb.BACKUP, Kind.COLLECTION, export.collection):
        require(rights, Verb.READ, Kind.COLLECTION, export.collection)


def _watch(watch: WatchChanges, rights: Rights) -> None:
    _follow(watch.selection.scope, rights)


def _follow(scope: Scope, rights: Rights) -> None:
    kind, name = _scope(scope)
    require(rights, Verb.WATCH, kind, name)
    if scope.kind != "store":
        require(rights, Verb.READ, kind, name)


def _status(_: ReadCluster, rights: Rights) -> None:
    if not rights.allows(Verb.MONITOR, *_CLUSTER):
        require(rights, Verb.READ, *_CLUSTER)


def _revoke(revoke: RevokeAttached, rights: Rights) -> None:
    require(rights, Verb.WRITE, *_CLUSTER)
    # Again: what it names was allowed by the rights of when it was made.
    for name in revoke.collections:
        require(rights, Verb.WRITE, Kind.COLLECTION, name)
        if rights.view(name, Verb.WRITE) is not None:
            raise Forbidden(Verb.WRITE, Kind.COLLECTION, name, of="every document ")
    for name in revoke.buckets:
        require(rights, Verb.WRITE, *bucket_of(name))


def _collection(verb: Verb, field: str = "collection") -> Callable[[Any, Rights], None]:
    return lambda operation, rights: require(rights, verb, Kind.COLLECTION, getattr(operation, field))


def _cluster(verb: Verb) -> Callable[[Any, Rights], None]:
    return lambda _, rights: require(rights, verb, *_CLUSTER)


def _anyone(_: object, rights: Rights) -> None:
    """For what is decided behind it: by name, by its owner, or by a key that only its owner has."""


def _own_session(create: CreateToken, caller: Caller) -> bool:
    return create.session and create.user == caller.user and caller.method is Method.PASSWORD


_BY_TOKEN: Final = (Method.TOKEN, Method.PASSWORD)
"""Whose credentials are tokens of the store: the ID of any other one may be chosen by its issuer."""
_OWN: Final[dict[type, Callable[[Any, Caller], bool]]] = {
    CreateToken: _own_session,
    RevokeToken: lambda revoke, caller: revoke.id == caller.credential and caller.method in _BY_TOKEN,
    SetPassword: lambda change, caller: change.user == caller.user and caller.method is Method.PASSWORD,
}
"""What callers may do with what is theirs, whatever their roles: log in and out, and change the password that they have
just given."""


RULES: Final[dict[type, Callable[[Any, Rights], None]]] = {
    DocumentRef: _read,
    KeyRef: _read,
    Put: _write_once,
    Delete: _write_once,
    Update: _write,
    Expiring: _write,
    Touch: _write,
    Insert: _collection(Verb.WRITE),
    Transaction: _transaction,
    GuardedTransaction: _guarded,
    Commit: _commit,
    CreateCollection: _collection(Verb.CREATE, "name"),
    DropCollection: _collection(Verb.DROP, "name"),
    ConfigureCollection: _configure,
    ReadCollection: _collection(Verb.READ, "name"),
    ListCollections: _anyone,
    CreateIndex: _create_index,
    DropIndex: _collection(Verb.INDEX),
    ReadIndexes: lambda read, rights: require_whole(rights, read.collection),
    ListDocuments: _collection(Verb.READ),
    ListKeys: lambda keys, rights: require(rights, Verb.READ, *bucket_of(keys.bucket)),
    FindDocuments: _collection(Verb.READ),
    CountDocuments: _collection(Verb.READ),
    DistinctValues: _collection(Verb.READ),
    AggregateDocuments: _aggregate,
    ExportDocuments: _export,
    ValidateDocuments: lambda check, rights: require_whole(rights, check.collection),
    WatchChanges: _watch,
    PutConsumer: lambda put, rights: _follow(Scope(put.kind, put.scope), rights),
    AckConsumer: _anyone,
    DeleteConsumer: _anyone,
    ReadConsumers: _anyone,
    GrantLease: _cluster(Verb.WRITE),
    KeepLease: _cluster(Verb.WRITE),
    RevokeLease: _cluster(Verb.WRITE),
    RevokeAttached: _revoke,
    ReadLease: _cluster(Verb.READ),
    ListLeases: _cluster(Verb.READ),
    Settle: _anyone,
    ReadCluster: _status,
    ReadState: _cluster(Verb.BACKUP),
    ReadLog: _cluster(Verb.BACKUP),
    Bootstrap: _cluster(Verb.ADMIN),
    MembersRequest: _cluster(Verb.ADMIN),
    TransferLeadership: _cluster(Verb.ADMIN),
    **dict.fromkeys((*ACCESS_ACTIONS, *ACCESS_READS), _cluster(Verb.ADMIN)),
}
"""By type and not by `match`: a read costs one lookup."""
