"""Which member is read, and which backup is taken."""

from __future__ import annotations

import msgspec
import pytest

from collectionstore_node.backup.errors import NotFound, Refused, Unreachable
from collectionstore_node.backup.selection import (
    Cluster,
    Leader,
    Member,
    choose_backup,
    choose_for_revision,
    of_one_cluster,
    order_members,
)
from collectionstore_node.tests.backup.test_manifest import manifest

LEADER = Leader("a", "http://a")


def member(name: str, lag: int | None = 0, **fields: object) -> Member:
    return msgspec.structs.replace(Member(name, name, f"http://{name}", "Voter", lag, active=True), **fields)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([member("a"), member("b", 5), member("c", 2)], "cba"),
        ([member("a")], "a"),
        ([member("a"), member("b", active=False)], "a"),
        ([member("a"), member("b", role="Learner"), member("c")], "ca"),
        ([member("a"), member("b", snapshot=True), member("c", 900)], "ca"),
        ([member("a"), member("c"), member("b")], "bca"),
    ],
)
def test_followers_come_before_the_leader(members: list[Member], expected: str) -> None:
    assert "".join(one.name for one in order_members(Cluster("shop", LEADER, members))) == expected


def test_without_a_leader_any_voter_is_asked() -> None:
    members = [member("a", None, active=None), member("b", None, active=None)]
    assert [one.name for one in order_members(Cluster("shop", None, members))] == ["a", "b"]


def test_nobody_to_ask_is_said() -> None:
    with pytest.raises(Unreachable, match="no leader and no active follower"):
        order_members(Cluster("shop", None, [member("a", active=False)]))


OLD = manifest(revision=10)
NEW = manifest(id="20260203T030405Z-0123abcd", revision=20)


def test_backups_are_found_by_name_and_age() -> None:
    assert choose_backup([NEW, OLD], "latest") == NEW
    assert choose_backup([NEW, OLD], OLD.id) == OLD
    assert choose_backup([NEW, OLD], "revision:19") == OLD
    with pytest.raises(NotFound, match=NEW.id):
        choose_backup([NEW, OLD], "20260203T030405Z-ffffffff")
    with pytest.raises(NotFound, match="no complete backup"):
        choose_backup([], "latest")


@pytest.mark.parametrize(("revision", "expected"), [(10, OLD), (19, OLD), (20, NEW), (10**9, NEW)])
def test_a_revision_is_reached_from_the_nearest_backup_before_it(revision: int, expected: object) -> None:
    assert choose_for_revision([NEW, OLD], revision) == expected


def test_a_revision_before_all_backups_cannot_be_reached() -> None:
    with pytest.raises(NotFound, match="the first one has revision 10"):
        choose_for_revision([NEW, OLD], 9)


def test_of_several_clusters_one_must_be_named() -> None:
    other = msgspec.structs.replace(NEW, cluster_id="bank")
    assert of_one_cluster([NEW, OLD], None) == [NEW, OLD]
    assert of_one_cluster([OLD, other], "bank") == [other]
    with pytest.raises(Refused, match="several clusters: bank, shop"):
        of_one_cluster([OLD, other], None)
    with pytest.raises(NotFound, match="no complete backup of the cluster 'none'; there are of bank, shop"):
        of_one_cluster([OLD, other], "none")
