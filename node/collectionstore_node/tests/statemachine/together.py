"""Commands of every kind, over the same few documents: what one of them leaves is met by all others."""

from __future__ import annotations

from random import Random

import orjson
from msgspec.structs import replace

from collectionstore_node.statemachine.access_commands import (
    Asked,
    ConfigureAccess,
    CreateToken,
    DeleteRole,
    DeleteUser,
    PutRole,
    PutUser,
    RevokeToken,
    RotateToken,
    SetPassword,
    UseTokens,
)
from collectionstore_node.statemachine.commands import (
    AckConsumer,
    Action,
    BuildIndex,
    Commit,
    ConfigureCollection,
    CountUsage,
    CreateCollection,
    CreateIndex,
    Delete,
    DeleteConsumer,
    DocumentRef,
    DropCollection,
    DropIndex,
    Expire,
    Expiring,
    Get,
    GrantLease,
    GuardedTransaction,
    Image,
    Insert,
    KeepLease,
    KeyRef,
    LimitHistory,
    Operation,
    Plan,
    Precondition,
    Put,
    PutConsumer,
    Query,
    QueryGuard,
    ReadQuery,
    ReadTarget,
    Ref,
    RevokeLease,
    Settle,
    Touch,
    Transaction,
    Update,
    UpdateForm,
)
from collectionstore_node.statemachine.commands import CompareOperator as Operator
from collectionstore_node.statemachine.options import CollectionOptions, Ids, Schema, SchemaMode
from collectionstore_node.tests.statemachine.indexed import defined

SCHEMAS = (
    b'{"properties":{"a":{"type":"integer","maximum":6},"z":{"default":5},"u":{"default":3}}}',
    b'{"required":["a"],"properties":{"l":{"uniqueItems":true},"n":{"properties":{"q":{"default":[1]}}}}}',
    b'{"unevaluatedProperties":false,"properties":{"a":{},"u":{},"l":{},"n":{}}}',
    b'{"type":"no type"}',
)
INDEXES = (
    defined("a", {"a": 1}),
    defined("u", {"u": 1}, unique=True, sparse=True),
    defined("l", {"l": 1}),
    defined("z", {"z": 1}, sparse=True),
)
FILTERS = (b"{}", b'{"a":{"$gt":2}}', b'{"u":3}', b'{"l":{"$elemMatch":{"$gt":1}}}', b'{"_id":"3"}', b"[]")
OPERATORS = (
    b'{"$inc":{"a":1}}',
    b'{"$set":{"u":7}}',
    b'{"$push":{"l":2}}',
    b'{"$unset":{"u":1}}',
    b'{"$set":{"a":2}}',
    b'{"$no":1}',
)
USERS = (b"{}", b'{"roles":["admin"]}', b'{"roles":["r","s"]}', b'{"roles":["admin"],"disabled":true}', b"[]")
ROLES = (
    b"{}",
    b'{"inherits":["s"]}',
    b'{"inherits":["r","reader"]}',
    b'{"rules":[{"verbs":["admin"],"cluster":true}]}',
    b'{"rules":[{"verbs":["read"],"collections":["c","e"],"filter":{"a":{"$gt":2}}}]}',
    b'{"rules":[{"verbs":["admin"],"cluster":true,"effect":"deny"}],"inherits":["admin"]}',
    b'{"rules":[{}]}',
)
CONFIGURATIONS = (
    b'{"mode":"Enforced"}',
    b'{"mode":"Permissive","anonymous_roles":["r"]}',
    b'{"mode":"Disabled"}',
    b'{"mode":"Enforced","anonymous_roles":["s","none"]}',
    b"{}",
)
PASSWORD = "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA"
RANGES = (((b"", b""),), ((b"\x00", b"\x80"), (b"\x80", b"")), ((b"\xff", b"\x01"),))


class Commands:
    """Makes commands; `revision` is that of the state, and `leases` and `indexes` are IDs of some that it has."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.revision = 1
        self.leases = [99_999]
        self.indexes = [99_999]
        self.steps: list[BuildIndex | CountUsage] = [BuildIndex("c", 5, None)]

    def next(self) -> Action:
        """Return a command."""
        chance = self.chance
        makers = (
            (40, self._living),
            (8, self._transaction),
            (6, self._guarded),
            (9, self._commit),
            (3, lambda: CreateCollection(chance.choice("cde"))),
            (1, lambda: DropCollection(chance.choice("cdeeee"))),
            (4, self._configure),
            (6, lambda: Insert(self._collection(), self._document())),
            (5, lambda: Touch(self._ref(), *self._life(), precondition=self._precondition())),
            (2, lambda: GrantLease(chance.choice((1_000, 3_000, 20_000, 0)))),
            (2, lambda: KeepLease(chance.choice(self.leases))),
            (2, lambda: RevokeLease(chance.choice(self.leases))),
            (4, Expire),
            (3, lambda: CreateIndex(chance.choice("cd"), chance.choice(INDEXES))),
            (1, lambda: DropIndex(chance.choice("cd"), chance.choice("aulz"))),
            (6, lambda: chance.choice(self.steps)),
            (1, lambda: LimitHistory(chance.choice((0, 8 << 20, 1)))),
            (1, lambda: PutConsumer(chance.choice("vw"), "collection", "c", b"{}", chance.choice((None, 1, 1 << 40)))),
            (1, lambda: AckConsumer(chance.choice("vw"), chance.randrange(self.revision + 3), 0)),
            (1, lambda: DeleteConsumer(chance.choice("vw"))),
            (1, lambda: Settle(chance.choice((0, 5)))),
            (4, self._access),
        )
        (maker,) = chance.choices([one for _, one in makers], [weight for weight, _ in makers])
        return maker()

    def _access(self) -> Action:
        chance = self.chance
        user, role, token = chance.choice("uv"), chance.choice("rs"), chance.choice("kl") * 8
        asked = Asked("o", ("operator",)) if chance.random() < 0.5 else Asked(chance.choice(("", "u")), time_ms=1_000)
        expected = chance.choice((None, None, None, 0, self.revision))
        made: tuple[Action, ...] = (
            PutUser(user, chance.choice(USERS), expected, asked),
            DeleteUser(user, expected, asked),
            PutRole(role, chance.choice(ROLES), expected, missing=chance.random() < 0.5, asked=asked),
            DeleteRole(role, expected, asked),
            CreateToken(token, user, bytes(32), 1, chance.choice((0, 500, 5_000)), session=chance.random() < 0.2),
            RotateToken(token, bytes(32), 2_000, chance.choice((None, 0, 1, 9_000)), asked),
            RevokeToken(token, asked),
            UseTokens(((token, chance.randrange(9)),)),
            ConfigureAccess(chance.choice(CONFIGURATIONS), expected, asked),
            SetPassword(user, chance.choice(("", PASSWORD, "x")), expected, asked),
        )
        return chance.choice(made)

    def _collection(self) -> str:
        return self.chance.choice(("c", "c", "c", "d", "d", "e", "none"))

    def _target(self) -> DocumentRef:
        return DocumentRef(self._collection(), str(self.chance.randrange(1, 14)))

    def _ref(self) -> Ref:
        return self._target() if self.chance.random() < 0.75 else KeyRef("b", f"k{self.chance.randrange(4)}")

    def _document(self) -> bytes:
        chance = self.chance
        document: dict[str, object] = {"a": chance.choice((0, 1, 2, 3, 5, 8, None, "x", 1.0))}
        if chance.random() < 0.6:
            document["u"] = chance.randrange(10)
        if chance.random() < 0.3:
            document["l"] = [chance.randrange(4) for _ in range(chance.randrange(5))]
        if chance.random() < 0.2:
            document["n"] = {"x": 1}
        return orjson.dumps(document)

    def _precondition(self) -> Precondition:
        kind = self.chance.random()
        if kind < 0.8:
            return Precondition()
        return Precondition(exists=kind < 0.9)

    def _update(self, *, image: Image = Image.NONE) -> Update:
        chance = self.chance
        form = chance.choice((UpdateForm.OPERATORS, UpdateForm.OPERATORS, *UpdateForm))
        body = {
            UpdateForm.OPERATORS: chance.choice(OPERATORS),
            UpdateForm.JSON_PATCH: b'[{"op":"add","path":"/a","value":3}]',
            UpdateForm.DELETE: b"",
        }.get(form, self._document())
        when, precondition = chance.choice((b"", b"", *FILTERS)), self._precondition()
        upsert = chance.random() < 0.4
        return Update(self._target(), form, body, when=when, precondition=precondition, upsert=upsert, image=image)

    def _write(self, *, image: Image = Image.NONE) -> Put | Delete | Update:
        kind, ref = self.chance.random(), self._ref()
        if kind < 0.5:
            return Put(ref, self._document() if isinstance(ref, DocumentRef) else b"v", self._precondition())
        return Delete(ref, self._precondition()) if kind < 0.6 else self._update(image=image)

    def _life(self) -> tuple[int, int]:
        kind = self.chance.random()
        if kind < 0.6:
            return self.chance.choice((1_000, 2_000, 5_000, 60_000)), 0
        return (0, self.chance.choice(self.leases)) if kind < 0.95 else (5, 0)

    def _living(self) -> Action:
        write = self._write(image=self.chance.choice(tuple(Image)))
        return write if isinstance(write, Delete) or self.chance.random() < 0.7 else Expiring(write, *self._life())

    def _operations(self) -> tuple[Operation, ...]:
        operations: list[Operation] = []
        for _ in range(self.chance.randrange(5)):
            write = self._write()
            if self.chance.random() < 0.25:
                operations.append(Get(self._ref()))
            elif isinstance(write, Delete) or self.chance.random() < 0.7:
                operations.append(write)
            else:
                operations.append(Expiring(write, *self._life()))
        return tuple(operations)

    def _transaction(self) -> Transaction:
        return Transaction((), self._operations(), self._operations())

    def _query(self) -> Query:
        chance = self.chance
        plan = Plan() if chance.random() < 0.5 else Plan(chance.choice(self.indexes), chance.choice(RANGES))
        name = chance.choice((None, None, str(chance.randrange(14))))
        return Query(self._collection(), chance.choice(FILTERS), name, plan)

    def _guarded(self) -> GuardedTransaction:
        chance = self.chance
        guard = QueryGuard(self._query(), chance.choice(tuple(Operator)), chance.randrange(5))
        return GuardedTransaction(self._transaction(), (guard,))

    def _commit(self) -> Commit:
        chance = self.chance
        targets = tuple(ReadTarget(self._ref(), chance.choice((0, self.revision))) for _ in range(chance.randrange(2)))
        since = chance.choice((0, max(0, self.revision - chance.randrange(8)), self.revision + 5))
        return Commit(targets, (ReadQuery(self._query(), since),), self._operations())

    def _configure(self) -> ConfigureCollection:
        chance = self.chance
        schema = None
        if chance.random() < 0.6:
            schema = Schema(chance.choice(SCHEMAS), chance.choice(tuple(SchemaMode)), chance.random() < 0.5)
        options = CollectionOptions(schema, chance.choice(tuple(Ids)), 1, chance.choice((0, 1_000, 3_000, 7)))
        if chance.random() < 0.3:
            quota = chance.choice(((6, 0), (0, 400), (3, 200)))
            options = replace(options, max_documents=quota[0], max_bytes=quota[1])
        return ConfigureCollection(chance.choice("cde"), options, create=chance.random() < 0.3)
