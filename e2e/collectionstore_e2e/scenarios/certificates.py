"""Certificates with minutes of life, a rotated key of the authority, and everything expired, while clients work."""

from __future__ import annotations

import asyncio
import base64
import time
from datetime import datetime
from typing import Any, Final

from collectionstore_e2e.clients.pod import clients
from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import CLUSTER, CONFIG_MAP, SECRET, Object, condition
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.installation import operator
from collectionstore_e2e.product.store import READY_S, Store
from collectionstore_operator.reconcile import pki

LIVES: Final = {"certificateLifetimeSeconds": 90, "authorityLifetimeSeconds": 7_200}
RENEWED_S: Final = 180.0
"""Two thirds of a life of 90 s, and the time to request, sign and load the next."""
ROTATED_S: Final = 420.0
"""Twice the two minutes in which a kubelet updates a mounted ConfigMap, and twice a renewal of every member."""
RECOVERED_S: Final = 300.0
ROTATE: Final = "collectionstore.io/rotate-authority"


@scenario(timeout_s=900)
async def certificates_live_for_minutes_and_the_key_is_rotated(context: Context) -> None:
    """Every member renews twice and the authority gets another key: no pod restarts, and clients go on."""
    async with operator(context):
        store = Store(context)
        await store.apply(tls=LIVES)
        await store.until_settled(3, timeout_s=READY_S)
        pods = {name: one["metadata"]["uid"] for name, one in (await store.pods()).items()}
        async with clients(context) as load:
            for _ in range(2):
                before = _serials(await store.read())
                await store.until(
                    lambda one, before=before: _all_renewed(one, before),  # type: ignore[misc]
                    what="every member with another certificate",
                    timeout_s=RENEWED_S,
                )
            await load.working()
            key = (await store.read())["status"]["authority"]["key"]
            began = load.now
            started = time.monotonic()
            request = {"metadata": {"annotations": {ROTATE: "1"}}}
            await context.client.patch(CLUSTER, store.name, request)
            await store.until(
                lambda one: _authority(one)["phase"] == "Steady" and _authority(one)["key"] != key,
                what="another key of the authority",
                timeout_s=ROTATED_S,
            )
            context.say(f"rotated in {time.monotonic() - started:.0f} s")
            await load.working()
            await load.say_pauses("the rotation", began, longest_s=10.0)
        found = await store.until_settled(3)
        assert condition(found, "CertificatesReady") == "True"
        assert {name: one["metadata"]["uid"] for name, one in (await store.pods()).items()} == pods


@scenario(timeout_s=1_320)
async def everything_expires_without_an_operator(context: Context) -> None:
    """No operator runs for longer than any certificate lives, the authority's included; it comes back, all is valid.

    The key is older than many lives by then: its certificate is renewed once, and the key is rotated as soon as every
    member responds again.
    """
    store = Store(context)
    async with operator(context) as running:
        await store.apply(tls=LIVES)
        await store.until_settled(3, timeout_s=READY_S)
        pods = {name: one["metadata"]["uid"] for name, one in (await store.pods()).items()}
        key = (await store.read())["status"]["authority"]["key"]
        await running.stop()
        await _until_ended(context, store)
        await _end_authority(context)
        await running.start()
        found = await store.until(
            lambda one: (
                condition(one, "Available") == condition(one, "CertificatesReady") == "True" and not _ended(one)
            ),
            what="valid certificates, and a leader",
            timeout_s=RECOVERED_S,
        )
        assert _authority(found)["key"] == key
        async with clients(context) as load:
            await load.working()
            await store.until(
                lambda one: _authority(one)["phase"] == "Steady" and _authority(one)["key"] != key,
                what="another key of the authority, since the old one has outlived ten certificates",
                timeout_s=ROTATED_S,
            )
            await load.working()
        assert {name: one["metadata"]["uid"] for name, one in (await store.pods()).items()} == pods


def _authority(found: Object) -> dict[str, Any]:
    authority: dict[str, Any] = found.get("status", {}).get("authority") or {"phase": "", "key": ""}
    return authority


def _serials(found: Object) -> set[str]:
    return {one.get("certificateSerial", "") for one in found["status"]["members"]}


def _all_renewed(found: Object, before: set[str]) -> bool:
    now = _serials(found)
    return len(now) == 3 and "" not in now and not now & before


def _expiries(found: Object) -> list[float]:
    """Return when the members' certificates end, in Unix seconds."""
    moments = [one.get("certificateExpires", "") for one in found["status"]["members"]]
    return [datetime.fromisoformat(one).timestamp() for one in moments if one]


def _ended(found: Object) -> bool:
    ends = _expiries(found)
    return len(ends) < 3 or min(ends) <= time.time()


async def _until_ended(context: Context, store: Store) -> None:
    """Wait for the moment at which the last certificate has ended; no operator runs that renews it."""
    last = max(_expiries(await store.read()))
    context.say(f"the last certificate ends in {last - time.time():.0f} s")
    await asyncio.sleep(max(0.0, last - time.time()) + 1)


async def _end_authority(context: Context) -> None:
    """Replace the authority's certificate by one of the same key that has ended, as if its years had passed."""
    secret = await context.client.get(SECRET, "demo-authority")
    cluster_id = (await context.client.get(CONFIG_MAP, "demo-record"))["data"]["cluster-id"]
    key_pem = base64.b64decode(secret["data"]["tls.key"])
    then = time.time() - 10 * LIVES["authorityLifetimeSeconds"]
    ended = pki.make_authority(
        "demo", cluster_id, lifetime_s=LIVES["authorityLifetimeSeconds"], now=then, key_pem=key_pem
    )
    data = {"tls.crt": base64.b64encode(ended.certificate_pem).decode()}
    await context.client.patch(SECRET, "demo-authority", {"data": data})
    await context.client.patch(CONFIG_MAP, "demo-record", {"data": {"ca.crt": ended.certificate_pem.decode()}})
