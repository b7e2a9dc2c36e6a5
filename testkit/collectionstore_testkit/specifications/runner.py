"""Runs one unified test: its entities, its data, its operations, and what the collections have then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from collectionstore import AsyncClient
from collectionstore.errors import BulkWriteError, CollectionStoreError, InvalidArgument, InvalidOperation
from collectionstore_testkit.specifications.operations import REASONS, NotOffered, bulk_result, run_operation
from collectionstore_testkit.specifications.values import NotInJson, difference, from_store, to_store

OLDER: Final = "for servers older than MongoDB 8"
FAULTS: Final = "needs fault points of a MongoDB server (`failPoint`)"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a test: `passed`, or the `reason` that it did not. `counts`: it is about servers of now."""

    passed: bool
    reason: str = ""
    counts: bool = True
    offered: bool = True
    """Whether the store and its client have what the test needs."""


async def run_test(client: AsyncClient, file: Mapping[str, Any], test: Mapping[str, Any]) -> Verdict:
    """Run one test of a file."""
    if _older(file) or _older(test):
        return Verdict(passed=False, reason=OLDER, counts=False)
    try:
        return await _Run(client, file, test).run()
    except NotOffered as reason:
        return Verdict(passed=False, reason=str(reason), offered=False)
    except NotInJson as reason:
        return Verdict(passed=False, reason=f"JSON does not have it: {reason}", offered=False)
    except TypeError:
        return Verdict(passed=False, reason="an option that the client does not have")
    except (InvalidArgument, InvalidOperation) as error:
        return Verdict(passed=False, reason=f"the client refuses it: {error}")
    except CollectionStoreError as error:
        return Verdict(passed=False, reason=f"the store refuses it: {getattr(error, 'code', type(error).__name__)}")


def _older(part: Mapping[str, Any]) -> bool:
    wanted = part.get("runOnRequirements")
    if not wanted:
        return False
    return all(
        _version(one.get("maxServerVersion", "99")) < (8,) or one.get("topologies") in (["single"], ["sharded"])
        for one in wanted
    )


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part.isdecimal())


class _Run:
    def __init__(self, client: AsyncClient, file: Mapping[str, Any], test: Mapping[str, Any]) -> None:
        self._client = client
        self._file = file
        self._test = test
        self._collections: dict[str, str] = {}
        self._sessions: dict[str, Any] = {}
        self._streams: dict[str, Any] = {}

    async def run(self) -> Verdict:
        for entity in self._file.get("createEntities", ()):
            ((kind, given),) = entity.items()
            if kind == "collection":
                self._collections[given["id"]] = _name(given["collectionName"])
                concern = given.get("collectionOptions", {}).get("writeConcern", {})
                if concern.get("w") == 0:
                    raise NotOffered(REASONS["writeConcern"])
            elif kind == "session":
                self._sessions[given["id"]] = None
        for name in set(self._collections.values()) | {_name(one["collectionName"]) for one in self._data()}:
            await self._client.create_collection(name, exist_ok=True)
        for one in self._data():
            if one["documents"]:
                await self._client[_name(one["collectionName"])].insert_many(to_store(one["documents"]))
        try:
            for operation in self._test["operations"]:
                if (fault := await self._operation(operation)) is not None:
                    return Verdict(passed=False, reason=fault)
            return await self._outcome()
        finally:
            for stream in self._streams.values():
                await stream.close()
            for name in await self._client.list_collection_names():
                await self._client.drop_collection(name)

    def _data(self) -> Any:
        return self._file.get("initialData", ())

    async def _operation(self, operation: Mapping[str, Any]) -> str | None:
        wanted = operation.get("expectError")
        try:
            result = await self._call(operation)
        except (BulkWriteError, InvalidArgument, InvalidOperation, CollectionStoreError) as error:
            if wanted is None and not operation.get("ignoreResultAndError"):
                raise
            if wanted is not None and "expectResult" in wanted and isinstance(error, BulkWriteError):
                return _fault(
                    difference(wanted["expectResult"], from_store(bulk_result(error.result))), "the result of the error"
                )
            return None
        if wanted is not None:
            return "the store allows what MongoDB refuses"
        if "expectResult" in operation:
            return _fault(difference(operation["expectResult"], from_store(result)), operation["name"])
        return None

    async def _call(self, operation: Mapping[str, Any]) -> Any:
        name, target, arguments = operation["name"], operation["object"], operation.get("arguments", {})
        if target == "testRunner":
            if name in ("failPoint", "targetedFailPoint"):
                raise NotOffered(FAULTS)
            return None  # assertions about the inner state of drivers
        if target in self._sessions:
            return await self._session(target, name, arguments)
        if target in self._streams:
            return await self._change(target)
        if target not in self._collections:
            raise NotOffered(f"no operation {name} of a client or database")
        collection = self._client[self._collections[target]]
        if name == "createChangeStream":
            if arguments.get("pipeline"):
                raise NotOffered("watches take filters of documents, not pipelines over events")
            stream = collection.watch()
            await stream.__aenter__()
            self._streams[operation.get("saveResultAsEntity", "stream")] = stream
            return None
        transaction = self._sessions.get(arguments.get("session", ""))
        inside = collection if transaction is None else transaction.collection(collection.name)
        return await run_operation(self._client, inside, name, arguments)

    async def _session(self, session: str, name: str, arguments: Mapping[str, Any]) -> Any:
        transaction = self._sessions[session]
        if name == "startTransaction":
            if transaction is not None and not transaction._over:
                raise InvalidOperation("a transaction is under way")
            self._sessions[session] = self._client.transaction()
        elif name in ("commitTransaction", "abortTransaction"):
            if transaction is None:
                raise InvalidOperation("there is no transaction")
            if name == "abortTransaction":
                transaction.check()
                await transaction.abort()
            else:
                await transaction.commit()
        elif name == "withTransaction":
            self._sessions[session] = self._client.transaction()
            async with self._sessions[session]:
                for one in arguments["callback"]:
                    if (fault := await self._operation(one)) is not None:
                        raise NotOffered(fault)
        elif name != "endSession":
            raise NotOffered(f"no operation {name} of a session")
        return None

    async def _change(self, target: str) -> Any:
        event = await self._streams[target].next()
        made: dict[str, Any] = {
            "operationType": event.operation,
            "ns": {"db": "database0", "coll": event.collection},
            "documentKey": {"_id": event.id},
        }
        if event.document is not None:
            made["fullDocument"] = event.document
        return made

    async def _outcome(self) -> Verdict:
        for one in self._test.get("outcome", ()):
            found = await self._client[_name(one["collectionName"])].find().to_list()
            fault = _fault(
                difference(one["documents"], from_store([dict(document) for document in found]), root=False), "outcome"
            )
            if fault is not None:
                return Verdict(passed=False, reason=fault)
        return Verdict(passed=True)


def _fault(found: str | None, what: str) -> str | None:
    return None if found is None else f"{what}: {found}"


def _name(name: str) -> str:
    return name.lower().replace(".", "-").replace("_", "-")
