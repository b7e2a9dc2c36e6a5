"""Access control: tokens of ServiceAccounts, rotated Secrets, from open to enforced, and what ends at once."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import Any, Final

from collectionstore_e2e.clients.pod import clients, of_secret, of_service_account
from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import SECRET, USER
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.installation import operator
from collectionstore_e2e.product.monitoring import prometheus
from collectionstore_e2e.product.store import MEMBERS, READY_S, Store, condition_text
from collectionstore_e2e.product.users import REVOKE, ROTATE, User, apply_role
from collectionstore_operator.manifests import podmonitor
from collectionstore_operator.manifests.access import monitor as scraper
from collectionstore_operator.resource.desired import parse

CHANGED_S: Final = 60.0
ENDED_S: Final = 1.0
PROPAGATED_S: Final = 180.0
"""The kubelet updates a mounted Secret within about a minute; the overlap must be longer."""
ROTATIONS: Final = 2

ASK: Final = """
import json, ssl, sys, urllib.error, urllib.request
tls = ssl.create_default_context(cafile="/etc/collectionstore/trust/ca.crt")
asked = json.load(sys.stdin)
request = urllib.request.Request(asked["url"], method=asked["method"])
for name, value in asked["headers"].items():
    request.add_header(name, value)
body = asked["body"].encode() if asked["body"] is not None else None
try:
    answer = urllib.request.urlopen(request, body, 10, context=tls)
    print(json.dumps([answer.status, answer.read().decode()]))
except urllib.error.HTTPError as error:
    print(json.dumps([error.code, error.read().decode()]))
"""
"""Makes one request from a member, as another client; a token is read from stdin and in no argument."""

WATCH: Final = """
import json, ssl, sys, threading, time, urllib.error, urllib.request
tls = ssl.create_default_context(cafile="/etc/collectionstore/trust/ca.crt")
asked = json.load(sys.stdin)
headers = {"Authorization": "Bearer " + asked["token"], "Accept": "text/event-stream"}

def follow():
    global closed
    answer = urllib.request.urlopen(urllib.request.Request(asked["watch"], headers=headers), None, 120, context=tls)
    while answer.readline():
        pass
    closed = time.monotonic()

following = threading.Thread(target=follow)
following.start()
while True:
    try:
        urllib.request.urlopen(urllib.request.Request(asked["list"], headers=headers), None, 10, context=tls).read()
    except urllib.error.HTTPError as error:
        assert error.code == 401, error.code
        refused = time.monotonic()
        break
    time.sleep(0.05)
following.join(60)
print(json.dumps(closed - refused))
"""
"""Follows changes while it asks again and again; prints by how much the stream outlived the first refusal, in seconds.
On one member and by one clock: its requests are refused from the moment on at which the token has ended there."""


async def ask(
    context: Context, path: str, token: str = "", *, method: str = "GET", body: Any = None
) -> tuple[int, str]:
    """Return status and body of one request over the Service."""
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    asked = {
        "url": f"https://demo.{context.namespace}.svc:7400{path}",
        "method": method,
        "headers": headers,
        "body": None if body is None else json.dumps(body),
    }
    said = await context.kubectl.exec(MEMBERS[0], "python3", "-c", ASK, stdin=json.dumps(asked))
    status, text = json.loads(said.splitlines()[-1])
    return int(status), str(text)


@scenario(timeout_s=400)
async def a_new_cluster_refuses_everybody_without_a_credential(context: Context) -> None:
    """Without spec.access: 401 without a credential, 403 without a right; users, roles and Secrets as resources."""
    async with operator(context):
        store = Store(context)
        await store.apply(access=None)
        found = await store.until_settled(3, timeout_s=READY_S)
        assert condition_text(found, "AccessConfigured").startswith("True Enforced"), found["status"]["conditions"]
        assert (await ask(context, "/api/v1/collections"))[0] == 401
        writer, clerk = User(context, "writer"), User(context, "clerk")
        await writer.apply(roles=["writer"])
        await writer.until_ready()
        token = await writer.token()
        assert (await ask(context, "/api/v1/collections/orders", token, method="PUT"))[0] == 201
        assert (await ask(context, "/api/v1/collections/secrets", token, method="PUT"))[0] == 201
        for tenant in ("north", "south"):
            path, body = f"/api/v1/collections/orders/documents/{tenant}", {"tenant": tenant, "card": "4111"}
            assert (await ask(context, path, token, method="PUT", body=body))[0] in (200, 201)
        rule = {
            "verbs": ["read"],
            "collections": ["orders"],
            "filter": '{"tenant": "north"}',
            "fields": {"hide": ["card"]},
        }
        await apply_role(context, "north", rule)
        await clerk.apply(roles=["north"])
        await clerk.until_ready()
        own = await clerk.token()
        status, seen = await ask(context, "/api/v1/collections/orders/documents/north", own)
        assert (status, json.loads(seen)) == (200, {"tenant": "north"}), seen
        assert (await ask(context, "/api/v1/collections/orders/documents/south", own))[0] == 404
        assert (await ask(context, "/api/v1/collections/orders/documents/north", own, method="DELETE"))[0] == 403
        assert (await ask(context, "/api/v1/users", own))[0] == 403
        # The Secret goes with the user, and so does what it opened.
        await context.client.delete(USER, "clerk")
        await context.client.until(USER, lambda left: "clerk" not in left, what="the user gone", timeout_s=CHANGED_S)
        assert (await ask(context, "/api/v1/collections/orders/documents/north", own))[0] == 401
        await context.client.until(
            SECRET, lambda left: clerk.secret not in left, what="its Secret gone", timeout_s=CHANGED_S
        )


@scenario(timeout_s=900)
async def secrets_are_rotated_without_a_failed_request(context: Context) -> None:
    """Clients read their token from a mounted Secret, which is replaced twice: not one request is refused."""
    async with operator(context):
        store = Store(context)
        await store.apply(access={})
        await store.until_settled(3, timeout_s=READY_S)
        user = User(context, "api")
        await user.apply(roles=["writer"], lifetimeSeconds=3_600, overlapSeconds=300)
        await user.until_ready()
        async with clients(context, token=of_secret(user.secret)) as load:
            for number in range(ROTATIONS):
                before = await user.credential()
                await user.annotate(ROTATE, str(number))
                await user.until_other_credential(before)
                # Until the former token has ended for good.
                await context.client.until_one(
                    USER,
                    user.name,
                    lambda one: one["status"]["formerCredentials"] == 0,
                    what="the former token ended",
                    timeout_s=PROPAGATED_S + 300,
                )
                await load.working()
        totals = load.recorded.totals
        assert (totals.failed, totals.unknown) == (0, 0), totals


@scenario(timeout_s=600)
async def pods_come_by_the_tokens_of_their_service_accounts(context: Context) -> None:
    """A pod's token for our audience is accepted by rules; one for the API server, or of another account, is not."""
    async with operator(context):
        store = Store(context)
        rules = [{"namespace": context.namespace, "name": "default", "roles": ["writer"]}]
        await store.apply(access={"serviceAccounts": {"audience": "store", "rules": rules}})
        await store.until_settled(3, timeout_s=READY_S)
        async with clients(context, token=of_service_account("store")) as load:
            await load.working(writes=100)
            made = ("create", "token", "default", "--duration=10m")
            mine = (await context.kubectl(*made, "--audience=store")).strip()
            assert (await ask(context, "/api/v1/collections", mine))[0] == 200
            for_api_server = (await context.kubectl(*made)).strip()
            assert (await ask(context, "/api/v1/collections", for_api_server))[0] == 401
            await context.kubectl("create", "serviceaccount", "stranger")
            stranger = await context.kubectl("create", "token", "stranger", "--duration=10m", "--audience=store")
            assert (await ask(context, "/api/v1/collections", stranger.strip()))[0] == 401
            forged = f"{mine.rpartition('.')[0]}.{base64.urlsafe_b64encode(bytes(256)).decode().rstrip('=')}"
            assert (await ask(context, "/api/v1/collections", forged))[0] == 401
        assert load.recorded.totals.failed == 0, load.recorded.totals


@scenario(timeout_s=600)
async def an_open_cluster_is_enforced_under_load(context: Context) -> None:
    """Disabled, Permissive, Enforced: clients with a credential notice nothing, and no member restarts."""
    async with operator(context):
        store = Store(context)
        await store.apply(access={"mode": "Disabled"})
        await store.until_settled(3, timeout_s=READY_S)
        pods = {name: one["metadata"]["uid"] for name, one in (await store.pods()).items()}
        user = User(context, "api")
        await user.apply(roles=["writer"])
        await user.until_ready()
        async with clients(context, token=of_secret(user.secret)) as load:
            for mode, anonymous in (("Permissive", 200), ("Enforced", 401)):
                await store.change(access={"mode": mode})
                await store.until(
                    lambda one, mode=mode: condition_text(one, "AccessConfigured").startswith(f"True {mode}"),  # type: ignore[misc]
                    what=f"the mode {mode}",
                    timeout_s=CHANGED_S,
                )
                assert (await ask(context, "/api/v1/collections"))[0] == anonymous
                await load.working(writes=100)
        totals = load.recorded.totals
        assert (totals.failed, totals.unknown) == (0, 0), totals
        assert {name: one["metadata"]["uid"] for name, one in (await store.pods()).items()} == pods


@scenario(timeout_s=400)
async def a_revoked_user_is_cut_off_within_a_second(context: Context) -> None:
    """A leaked token is revoked by an annotation: requests are refused, and its open watch ends."""
    async with operator(context):
        store = Store(context)
        await store.apply(access={})
        await store.until_settled(3, timeout_s=READY_S)
        user = User(context, "api")
        await user.apply(roles=["writer"])
        await user.until_ready()
        leaked, before = await user.token(), await user.credential()
        assert (await ask(context, "/api/v1/collections/orders", leaked, method="PUT"))[0] == 201
        base = "https://localhost:7400/api/v1/collections"
        asked = {"watch": f"{base}/orders:watch", "list": base, "token": leaked}
        watching = asyncio.create_task(
            context.kubectl.exec(MEMBERS[1], "python3", "-c", WATCH, stdin=json.dumps(asked), timeout_s=120)
        )
        try:
            await user.annotate(REVOKE, "leaked")
            await user.until_other_credential(before)
            outlived = float((await watching).splitlines()[-1])
        finally:
            watching.cancel()
        assert outlived <= ENDED_S, f"the watch outlived the token by {outlived:.3f} s"
        context.say(f"the watch outlived the token by {max(0.0, outlived):.3f} s")
        assert (await ask(context, "/api/v1/collections", leaked))[0] == 401
        assert (await ask(context, "/api/v1/collections", await user.token()))[0] == 200


@scenario(timeout_s=500)
async def metrics_are_scraped_with_a_credential(context: Context) -> None:
    """With spec.monitoring.tls the metrics port asks for one; Prometheus has it by what the PodMonitor names."""
    async with operator(context):
        store = Store(context)
        # No PodMonitor is made, for want of the Prometheus operator: its user is made here, the rest is the operator's.
        monitoring = {"tls": "Required"}
        await store.apply(access={}, monitoring=monitoring)
        await store.until_settled(3, timeout_s=READY_S)
        desired = parse({**store.manifest(monitoring=monitoring), "metadata": store.metadata(context.namespace)})
        monitor, made = podmonitor.build(desired).body, scraper.build(desired).body
        user = User(context, made["metadata"]["name"])
        await user.apply(roles=made["spec"]["roles"])
        await user.until_ready()
        async with prometheus(context, [monitor], {"spec": {"groups": []}}) as seen:
            await seen.until_targets(
                lambda found: len(found) == len(MEMBERS) and all(one["health"] == "up" for one in found),
                what="every member scraped",
                timeout_s=READY_S,
            )
        token = await user.token()
        assert (await ask(context, "/metrics"))[0] == 401
        served, text = await ask(context, "/metrics", token)
        assert served == 200
        assert "collectionstore_" in text
        # It may scrape, and nothing else.
        assert (await ask(context, "/api/v1/collections/x", token, method="PUT"))[0] == 403
