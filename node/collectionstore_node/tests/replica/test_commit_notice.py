"""When a leader's driver tells followers a commit index that no entry carries, and what does not wait for it."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

from collectionstore_node.raft.messages import AppendEntries, AppendReply, Index, Message
from collectionstore_node.replica.driver.commit_notice import COMMIT_LAG_S, CommitNotice
from collectionstore_node.tests.raft.cluster import Cluster
from collectionstore_node.tests.raft.test_raft_commit_told import DEFERRED
from collectionstore_node.tests.replica.group import PATIENCE_S, Member, group


class Woken:
    """A core that leads, with a notice."""

    def __init__(self) -> None:
        self.cluster = Cluster.of(1, 2, 3, settings=DEFERRED)
        self.leader = self.cluster.elect(1)
        self.wakes = asyncio.Semaphore(0)
        self.notice = CommitNotice(lambda: self.leader.core, self.wakes.release)

    async def told(self) -> Index:
        """Wait until the driver is woken, do its work, and return what a follower knows then."""
        await asyncio.wait_for(self.wakes.acquire(), PATIENCE_S)
        self.cluster.settle()
        return self.cluster[2].core.commit_index


async def test_last_commit_index_is_told_after_a_moment() -> None:
    woken = Woken()
    index = woken.cluster.propose()
    woken.notice.arm()
    assert woken.cluster[2].core.commit_index < index
    assert await woken.told() == index


async def test_timer_that_finds_a_later_commit_index_waits_for_that() -> None:
    """One timer, never cancelled while writes follow each other: it speaks for the index that it began with."""
    woken = Woken()
    woken.cluster.propose()
    woken.notice.arm()
    later = woken.cluster.propose()
    woken.notice.arm()
    began = asyncio.get_running_loop().time()
    assert await woken.told() == later
    assert asyncio.get_running_loop().time() - began > 1.5 * COMMIT_LAG_S


async def test_nothing_is_told_once_leadership_or_driver_has_ended() -> None:
    deposed, stopped, later = Woken(), Woken(), Woken()
    for woken in (deposed, stopped, later):
        woken.cluster.propose()
        woken.notice.arm()
    deposed.leader.core.step_down()
    stopped.notice.close()
    # Its timer began last.
    await later.told()
    assert deposed.wakes.locked()
    assert stopped.wakes.locked()


async def test_followers_apply_the_last_write_without_another(tmp_path: Path) -> None:
    async with group(tmp_path, 3) as (_, (leader, *followers)):
        revision = await leader.put("a", b"1")
        for follower in followers:
            await follower.until(partial(has_applied, follower, revision))


async def test_linearizable_read_on_a_follower_sees_what_was_just_acknowledged(tmp_path: Path) -> None:
    """It waits for the commit index, and its leader tells it without delay."""
    async with group(tmp_path, 3) as (_, (leader, follower, _other)):
        for number in range(20):
            await leader.put("a", b"%d" % number)
            assert await follower.get("a") == b"%d" % number


def has_applied(member: Member, revision: int) -> bool:
    return member.replica.revision >= revision


def replies(messages: list[Message]) -> int:
    return sum(isinstance(one, AppendReply) for one in messages)


async def test_writes_that_follow_each_other_cost_a_follower_one_message_and_one_reply_each() -> None:
    """Counted in the core: no commit index travels alone, and none is answered."""
    cluster = Cluster.of(1, 2, 3, settings=DEFERRED)
    sent: list[Message] = []
    cluster.carried = lambda message, _data: sent.append(message)
    cluster.elect(1)
    sent.clear()
    for _ in range(10):
        cluster.propose()
    assert sum(isinstance(one, AppendEntries) for one in sent) == 20
    assert replies(sent) == 20
