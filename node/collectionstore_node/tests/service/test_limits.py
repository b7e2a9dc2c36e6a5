"""The limits of every operation: the largest is admitted, one more is refused, with the limit, and has no effect."""

from __future__ import annotations

import pytest

from collectionstore_node.errors import InvalidRequest, TooLarge
from collectionstore_node.service import Consistency, Store
from collectionstore_node.service.operations import (
    CompareField,
    CompareOperator,
    DocumentRef,
    Get,
    Guard,
    KeyRef,
    ListCollections,
    ListDocuments,
    ListKeys,
    Put,
    Ref,
    Transaction,
    TransactionStep,
)
from collectionstore_node.service.results import Code
from collectionstore_node.tests.api.memory_replica import MemoryReplica
from collectionstore_node.tests.service.conftest import LIMITS, as_is

DOCUMENT, KEY = DocumentRef("people", "ada"), KeyRef("b", "k")
SIZES: list[tuple[Ref, int]] = [(DOCUMENT, LIMITS.document_bytes_max), (KEY, LIMITS.value_bytes_max)]


def _document(size: int) -> bytes:
    return b'{"a":"' + b"x" * (size - 8) + b'"}'


@pytest.fixture
async def people(store: Store) -> Store:
    assert (await store.create_collection("people", key=None, timeout_s=1)).code is Code.OK
    return store


@pytest.mark.parametrize(("ref", "size"), SIZES)
async def test_a_put_is_bounded_by_what_it_stores(people: Store, replica: MemoryReplica, ref: Ref, size: int) -> None:
    assert (await people.write(Put(ref, _document(size)), key=None, timeout_s=1)).code is Code.OK
    before = len(replica.proposed)

    with pytest.raises(TooLarge) as refused:
        await people.write(Put(ref, _document(size + 1)), key=None, timeout_s=1)

    assert (refused.value.code, refused.value.limit_bytes) == ("too_large", size)
    assert f"{size + 1} bytes; at most {size}" in refused.value.detail
    assert len(replica.proposed) == before


async def test_an_insert_is_bounded_like_a_put(people: Store, replica: MemoryReplica) -> None:
    size = LIMITS.document_bytes_max
    assert (await people.insert("people", _document(size), key=None, timeout_s=1)).outcome.code is Code.OK
    before = len(replica.proposed)

    with pytest.raises(TooLarge):
        await people.insert("people", _document(size + 1), key=None, timeout_s=1)

    assert len(replica.proposed) == before


@pytest.mark.parametrize("branch", ["then", "else"])
@pytest.mark.parametrize(("ref", "size"), SIZES)
async def test_a_put_inside_a_transaction_has_the_same_bound(
    people: Store, replica: MemoryReplica, ref: Ref, size: int, branch: str
) -> None:
    def transaction(value: bytes) -> Transaction:
        steps = (Get(ref), Put(ref, value))
        return Transaction(then=steps) if branch == "then" else Transaction(otherwise=steps)

    assert (await people.transact(transaction(_document(size)), key=None, timeout_s=1)).code is Code.OK
    before = len(replica.proposed)

    with pytest.raises(TooLarge) as refused:
        await people.transact(transaction(_document(size + 1)), key=None, timeout_s=1)

    assert refused.value.limit_bytes == size
    assert refused.value.detail.startswith(f"{branch}[1]: ")
    assert len(replica.proposed) == before


@pytest.mark.parametrize("part", ["compare", "then", "else"])
async def test_a_transaction_is_bounded_in_each_of_its_lists(people: Store, replica: MemoryReplica, part: str) -> None:
    guard = Guard(KEY, CompareField.REVISION, CompareOperator.EQUAL, 0)
    reads: tuple[TransactionStep, ...] = (Get(KEY),)

    def transaction(items: int) -> Transaction:
        match part:
            case "compare":
                return Transaction(compare=(guard,) * items)
            case "then":
                return Transaction(then=reads * items)
            case _:
                return Transaction(otherwise=reads * items)

    most = LIMITS.transaction_items_max
    assert (await people.transact(transaction(most), key=None, timeout_s=1)).code is Code.OK
    before = len(replica.proposed)

    with pytest.raises(InvalidRequest, match=f"{part} has {most + 1} items; at most {most}") as refused:
        await people.transact(transaction(most + 1), key=None, timeout_s=1)

    assert refused.value.code == "invalid_body"
    assert len(replica.proposed) == before


@pytest.mark.parametrize("branch", ["then", "else"])
async def test_a_transaction_that_writes_a_target_twice_takes_no_place_in_the_log(
    people: Store, replica: MemoryReplica, branch: str
) -> None:
    twice = (Put(KEY, b"1"), Put(KEY, b"2"))
    before = len(replica.proposed)

    with pytest.raises(InvalidRequest, match=f"{branch} 1: the target is written twice in this branch") as refused:
        await people.transact(
            Transaction(then=twice) if branch == "then" else Transaction(otherwise=twice), key=None, timeout_s=1
        )

    assert refused.value.code == "invalid_body"
    assert len(replica.proposed) == before


@pytest.mark.parametrize("limit", [0, -1, LIMITS.list_items_max + 1])
@pytest.mark.parametrize("kind", ["collections", "documents", "keys"])
async def test_a_page_is_bounded_before_anything_is_read(
    people: Store, replica: MemoryReplica, kind: str, limit: int
) -> None:
    barriers = replica.barriers

    with pytest.raises(InvalidRequest, match=f"limit is {limit}; allowed are 1 to 5") as refused:
        await _list(people, kind, limit)

    assert refused.value.code == "invalid_parameter"
    assert replica.barriers == barriers


@pytest.mark.parametrize("kind", ["collections", "documents", "keys"])
async def test_the_largest_page_is_admitted(people: Store, kind: str) -> None:
    await _list(people, kind, LIMITS.list_items_max)


async def test_a_page_ends_at_its_bytes_also_below_its_items(store: Store) -> None:
    for name in "abcde":
        await store.write(Put(KeyRef("b", name), b"x" * LIMITS.value_bytes_max), key=None, timeout_s=1)

    request = ListKeys("b", "", None, 5)
    page = await store.lists.keys(request, show=as_is, consistency=Consistency.STALE, timeout_s=1)

    assert 1 <= len(page.items) < 5
    assert page.next_after == page.items[-1].id
    assert sum(len(item.stored.value) for item in page.items) <= LIMITS.list_bytes_max


async def _list(store: Store, kind: str, limit: int) -> None:
    new = Consistency.LINEARIZABLE
    match kind:
        case "collections":
            await store.lists.collections(ListCollections("", None, limit), show=as_is, consistency=new, timeout_s=1)
        case "documents":
            await store.lists.documents(
                ListDocuments("people", "", None, limit), show=as_is, consistency=new, timeout_s=1
            )
        case _:
            await store.lists.keys(ListKeys("b", "", None, limit), show=as_is, consistency=new, timeout_s=1)
