"""The examples, run as their pages say: each as a process of its own, against a real cluster."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import jsonschema
import kubernetes_validate
import pytest
import yaml
from yarl import URL

from collectionstore import AsyncClient
from collectionstore_testkit.clusters.local import PORT_STEP, LocalCluster, make_folder
from collectionstore_testkit.clusters.ports import free_base_port

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = REPOSITORY / "examples"
SHOP = EXAMPLES / "service" / "shop.py"
JOBS = EXAMPLES / "job-queue" / "jobs.py"
SESSIONS = EXAMPLES / "session-store" / "sessions.py"
MEMBERS = 3
DEADLINE_S = 60.0
POLL_S = 0.05


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    base_port = free_base_port(PORT_STEP * MEMBERS, within=range(20_000, 30_000))
    running = LocalCluster(make_folder("examples"), base_port, name="examples")
    try:
        asyncio.run(running.start(MEMBERS))
        yield running
    finally:
        asyncio.run(running.stop(keep=False))
        shutil.rmtree(running.folder, ignore_errors=True)


@pytest.fixture
def environment(cluster: LocalCluster) -> dict[str, str]:
    hosts = ",".join(url.removeprefix("http://") for url in cluster.urls(MEMBERS))
    return {**os.environ, "COLLECTIONSTORE_URL": f"collectionstore://{hosts}"}


@pytest.fixture
async def client(environment: dict[str, str]) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(environment["COLLECTIONSTORE_URL"]) as running:
        yield running


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@asynccontextmanager
async def serving(program: Path, environment: dict[str, str]) -> AsyncIterator[tuple[str, aiohttp.ClientSession]]:
    """Run a web application; yield its URL, and a session that has cookies of 127.0.0.1, too."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(program), env={**environment, "PORT": str(port)}, stdout=asyncio.subprocess.DEVNULL
    )
    url = f"http://127.0.0.1:{port}"
    try:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
            async with asyncio.timeout(DEADLINE_S):
                while process.returncode is None:
                    try:
                        async with session.get(url):
                            break
                    except aiohttp.ClientConnectorError:
                        await asyncio.sleep(POLL_S)
            assert process.returncode is None
            yield url, session
    finally:
        if process.returncode is None:
            process.terminate()
        async with asyncio.timeout(DEADLINE_S):
            assert await process.wait() == 0


async def asked(session: aiohttp.ClientSession, method: str, url: str, body: object = None) -> tuple[int, Any]:
    async with session.request(method, url, json=body) as answer:
        return answer.status, await answer.json()


# The service


async def test_the_shop_sells_what_it_has_and_each_order_once(environment: dict[str, str]) -> None:
    async with serving(SHOP, environment) as (url, session):
        assert await asked(session, "GET", f"{url}/readyz") == (200, {"ready": True})
        assert (await asked(session, "PUT", f"{url}/items/tea", {"stock": 5}))[0] == 200

        order = {"id": "o-1", "sku": "tea", "count": 3}
        assert (await asked(session, "POST", f"{url}/orders", order))[0] == 201
        assert await asked(session, "POST", f"{url}/orders", order) == (200, order)
        assert (await asked(session, "GET", f"{url}/items/tea"))[1]["stock"] == 2

        assert (await asked(session, "POST", f"{url}/orders", {"id": "o-2", "sku": "tea", "count": 3}))[0] == 409
        assert (await asked(session, "GET", f"{url}/orders/o-2"))[0] == 404
        assert (await asked(session, "GET", f"{url}/orders/o-1"))[1]["count"] == 3


async def test_the_shop_never_sells_too_much_to_many_at_once(environment: dict[str, str]) -> None:
    async with serving(SHOP, environment) as (url, session):
        assert (await asked(session, "PUT", f"{url}/items/cake", {"stock": 7}))[0] == 200
        orders = [{"id": f"cake-{at}", "sku": "cake", "count": 1} for at in range(20)]

        answers = await asyncio.gather(*(asked(session, "POST", f"{url}/orders", one) for one in orders))

        assert sorted(status for status, _ in answers) == [201] * 7 + [409] * 13
        assert (await asked(session, "GET", f"{url}/items/cake"))[1]["stock"] == 0


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("orders", {"id": "x", "sku": "tea"}),
        ("orders", {"id": "x", "sku": "tea", "count": True}),
        ("orders", {"id": "x", "sku": "tea", "count": -1}),
        ("orders", [1]),
        ("items/tea", {"stock": "5"}),
        ("items/tea", {"stock": -5}),
    ],
)
async def test_the_shop_refuses_what_it_does_not_understand(
    environment: dict[str, str], path: str, body: object
) -> None:
    method = "POST" if path == "orders" else "PUT"
    async with serving(SHOP, environment) as (url, session):
        assert (await asked(session, method, f"{url}/{path}", body))[0] == 400


def test_the_manifests_of_the_service_are_valid() -> None:
    resources = [one for one in yaml.safe_load_all((SHOP.parent / "kubernetes" / "shop.yaml").read_text()) if one]
    ours = {}
    for path in (REPOSITORY / "crds").glob("*.yaml"):
        definition = yaml.safe_load(path.read_text())
        for version in definition["spec"]["versions"]:
            ours[definition["spec"]["names"]["kind"]] = version["schema"]["openAPIV3Schema"]

    for resource in resources:
        if resource["apiVersion"].startswith("collectionstore.io/"):
            jsonschema.validate(resource, ours.get(resource["kind"], {}))
        else:
            kubernetes_validate.validate(resource, "1.31", strict=True)

    user = next(one for one in resources if one["kind"] == "CollectionStoreUser")
    pod = next(one for one in resources if one["kind"] == "Deployment")["spec"]["template"]["spec"]
    assert pod["volumes"][0]["secret"]["secretName"] == f"{user['metadata']['name']}-credentials"
    assert {"name": "COLLECTIONSTORE_SECRET", "value": pod["containers"][0]["volumeMounts"][0]["mountPath"]} in (
        pod["containers"][0]["env"]
    )


def test_the_dockerfile_of_the_service_is_linted() -> None:
    program = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([program, SHOP.parent / "Dockerfile"], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stdout


# The queue


@asynccontextmanager
async def worker(environment: dict[str, str], command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a worker in a process group of its own, so that its command ends with it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(JOBS), "work", "--command", command, "--lease", "2",
        env=environment, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def ran(environment: dict[str, str], *words: str) -> str:
    """Run the program of the queue, and return what it has printed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(JOBS), *words, env=environment, stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(DEADLINE_S):
        output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode().strip()


async def settled(client: AsyncClient, job: str) -> dict[str, Any]:
    """Return a job that is not queued any more."""
    async with asyncio.timeout(DEADLINE_S):
        async with client.collection("jobs").watch({"_id": job}, start="snapshot") as watch:
            async for event in watch:
                if event.document is not None and event.document["state"] != "queued":
                    return dict(event.document)
    raise AssertionError("the watch has ended")


async def test_jobs_are_run_by_several_workers_each_with_one_result(
    environment: dict[str, str], client: AsyncClient
) -> None:
    async with worker(environment, "tr a-z A-Z"), worker(environment, "tr a-z A-Z"):
        jobs = [await ran(environment, "submit", f"job {at}") for at in range(3)]
        jobs += [
            (await client.collection("jobs").insert_one({"state": "queued", "payload": f"job {at}"})).inserted_id
            for at in range(3, 20)
        ]
        found = [await settled(client, job) for job in jobs]

    assert [one["result"] for one in found] == [f"JOB {at}" for at in range(20)]
    assert {one["results"] for one in found} == {1}
    assert json.loads(await ran(environment, "show", jobs[0]))["result"] == "JOB 0"
    claims = client.bucket("claims").keys()
    assert [one async for one in claims] == []


async def test_the_job_of_a_worker_that_dies_is_done_by_another(
    environment: dict[str, str], client: AsyncClient
) -> None:
    job = await ran(environment, "submit", "precious")
    async with worker(environment, "sleep 3600") as dying:
        async with asyncio.timeout(DEADLINE_S):
            async with client.bucket("claims").watch(start="snapshot") as claims:
                async for event in claims:
                    if event.key == job:
                        break
        os.killpg(dying.pid, signal.SIGKILL)

    async with worker(environment, "tr a-z A-Z"):
        found = await settled(client, job)

    assert (found["result"], found["results"]) == ("PRECIOUS", 1)


async def test_a_job_that_cannot_be_done_is_told_and_does_not_end_the_worker(
    environment: dict[str, str], client: AsyncClient
) -> None:
    async with worker(environment, "grep good"):
        bad = await settled(client, await ran(environment, "submit", "bad"))
        good = await settled(client, await ran(environment, "submit", "good"))

    assert (bad["state"], bad["error"]) == ("failed", "the command ended with 1")
    assert good["state"] == "done"


# The sessions


async def test_sessions_begin_and_end(environment: dict[str, str], client: AsyncClient) -> None:
    async with serving(SESSIONS, environment) as (url, session):
        assert (await asked(session, "GET", f"{url}/me"))[0] == 401
        assert (await asked(session, "POST", f"{url}/login", {"user": "ada"}))[0] == 200
        assert await asked(session, "GET", f"{url}/me") == (200, {"user": "ada"})
        secret = session.cookie_jar.filter_cookies(URL(url))["session"].value

        # What is stored opens nothing.
        stored = [one async for one in client.collection("sessions").find()]
        assert [one["user"] for one in stored] == ["ada"]
        assert secret not in json.dumps(stored)

        assert (await asked(session, "POST", f"{url}/logout"))[0] == 200
        async with aiohttp.ClientSession(cookies={"session": secret}) as former:
            assert (await asked(former, "GET", f"{url}/me"))[0] == 401


async def test_all_sessions_of_a_user_end_at_once(environment: dict[str, str]) -> None:
    async with (
        serving(SESSIONS, environment) as (url, one),
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as two,
        aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as other,
    ):
        for session, user in ((one, "grace"), (two, "grace"), (other, "alan")):
            assert (await asked(session, "POST", f"{url}/login", {"user": user}))[0] == 200

        assert await asked(one, "POST", f"{url}/logout-everywhere") == (200, {"ended": 2})

        assert (await asked(two, "GET", f"{url}/me"))[0] == 401
        assert await asked(other, "GET", f"{url}/me") == (200, {"user": "alan"})


async def test_a_session_that_is_not_used_ends_by_itself(environment: dict[str, str], client: AsyncClient) -> None:
    async with (
        serving(SESSIONS, {**environment, "SESSION_IDLE_S": "1"}) as (url, session),
        client.collection("sessions").watch(operations=["expire"]) as ended,
    ):
        assert (await asked(session, "POST", f"{url}/login", {"user": "ada"}))[0] == 200
        async with asyncio.timeout(DEADLINE_S):
            assert (await ended.next()) is not None
        assert (await asked(session, "GET", f"{url}/me"))[0] == 401
