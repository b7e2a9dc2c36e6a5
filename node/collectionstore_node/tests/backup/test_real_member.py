"""The program against the API of a real member: its state and its log, through HTTP, into a restored directory."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

from aiohttp import web

from collectionstore_node.api import HttpLimits, make_client_server
from collectionstore_node.backup.archive import archive_log
from collectionstore_node.backup.archive_lag import Lag
from collectionstore_node.backup.create import create_backup
from collectionstore_node.backup.replay import replay_log
from collectionstore_node.backup.repository import Repository
from collectionstore_node.backup.restore import NewMember, restore_directory
from collectionstore_node.backup.selection import Cluster, Leader, Member, Target
from collectionstore_node.backup.source import Access, Source
from collectionstore_node.backup.stored import open_backup
from collectionstore_node.service import Store, StoreLimits
from collectionstore_node.statemachine.header import read_header
from collectionstore_node.statemachine.keys import MEMBERSHIP_KEY
from collectionstore_node.statemachine.levels import HIGHEST
from collectionstore_node.storage import Database
from collectionstore_node.tests.api.memory_replica import RecordedMetrics
from collectionstore_node.tests.backup.conftest import KEY, PART_BYTES, QUIET
from collectionstore_node.tests.replica.group import group


class OneMember(Source):
    """Reads one member at the port that it was given, whatever its record says."""

    def cluster(self) -> Cluster:
        return Cluster("test", Leader("1", self._endpoints[0]), [Member("1", "n0", self._endpoints[0], "Voter")])


async def _render(_accept: str) -> tuple[bytes, str]:
    return b"", "text/plain"


def records(database: Database) -> dict[bytes, bytes]:
    found = dict(database.state.scan(b"", b"\xff" * 8))
    found.pop(MEMBERSHIP_KEY)
    return found


async def test_state_and_log_of_a_real_member_make_its_state_again(tmp_path: Path) -> None:
    """Init: a backup of a member. Step: write on; archive the log; restore to its end.

    Check: every record is that of the member, its digest included; an archive of what is there already adds nothing.
    """
    repository = Repository(str(tmp_path / "repository"))
    async with group(tmp_path, 1) as (_, (member,)):
        server = make_client_server(
            Store(member.replica, StoreLimits()),
            HttpLimits(),
            RecordedMetrics(),
            render_metrics=_render,
            authorize_admin=lambda _request: True,
            tls=False,
        )
        runner = web.ServerRunner(server)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            source = OneMember([f"http://127.0.0.1:{runner.addresses[0][1]}"], Access())
            # Nothing else is appended behind what raises the level.
            await member.until(lambda: read_header(member.database.state).level == HIGHEST)
            for number in range(60):
                await member.put(f"{number:03}", b"before" * 50)
            make = partial(
                create_backup, expected_cluster="test", stale=False, progress=QUIET, part_bytes=PART_BYTES, key=KEY
            )
            made = await asyncio.to_thread(make, source, repository)
            for number in range(40, 80):
                await member.put(f"{number:03}", b"after" * 50)
            archive = partial(archive_log, key=KEY, once=True, interval_s=1.0, report=lambda _lag: None)
            lag = await asyncio.to_thread(archive, source, repository)
            assert lag == Lag(member.replica.applied_index, member.replica.applied_index)
            assert await asyncio.to_thread(archive, source, repository) == lag
        finally:
            await runner.cleanup()

        assert made.revision == 60
        replay = partial(replay_log, repository, made, KEY, Target())
        restored = await asyncio.to_thread(
            restore_directory,
            repository,
            *open_backup(repository, made.id, KEY),
            tmp_path / "data",
            NewMember("new", "new-0", "127.0.0.1:1", "http://127.0.0.1:2"),
            replay=replay,
        )
        assert restored.revision == 100
        assert restored.state_digest == read_header(member.database.state).digest.hex()
        database = await asyncio.to_thread(Database.open, tmp_path / "data", cluster_id="new", name="new-0")
        assert records(database) == records(member.database)
        database.close()
