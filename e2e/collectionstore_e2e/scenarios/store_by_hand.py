"""The storage node's image in a StatefulSet without an operator, with certificates in a Secret."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from dataclasses import dataclass
from typing import Any, Final

from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.errors import CommandRefused
from collectionstore_e2e.harness.kinds import POD, STATEFUL_SET, Object, is_ready
from collectionstore_e2e.harness.objects import (
    IDLE,
    START_S,
    claim,
    container,
    headless_service,
    one_per_node,
    pod,
    pod_spec,
    stateful_set,
)
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_operator.model.observed import CertificateKind
from collectionstore_operator.reconcile.pki import KeyPair, make_authority, make_leaf

NAME: Final = "store"
DNS_CACHED_S: Final = 30.0
"""CoreDNS caches the answers about Services for so long by default."""
CLUSTER_ID: Final = "store-by-hand"
MEMBERS: Final = tuple(f"{NAME}-{ordinal}" for ordinal in range(3))
ADMINISTRATOR: Final = "operator"
CLIENT, PEER, METRICS = 7400, 7401, 7402
LIFETIME_S: Final = 3600
LABELS: Final = {"app": NAME}

# One request with the administrator's certificate; prints the status and the body, also of a refusal.
CALL: Final = f"""
import ssl, sys, urllib.error, urllib.request
method, url, body = sys.argv[1:]
tls = ssl.create_default_context(cafile="/tls/ca.crt")
tls.load_cert_chain("/tls/{ADMINISTRATOR}.crt", "/tls/{ADMINISTRATOR}.key")
request = urllib.request.Request(url, body.encode() or None, {{"Content-Type": "application/json"}}, method=method)
try:
    answer = urllib.request.urlopen(request, context=tls if url.startswith("https") else None, timeout=10)
except urllib.error.HTTPError as refused:
    answer = refused
print(answer.status)
print(answer.read().decode(), end="")
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """A node's response."""

    status: int
    body: Any


@scenario(timeout_s=300)
async def three_nodes_form_a_cluster_without_an_operator(context: Context) -> None:
    """Three pods of the node's image form a cluster, replicate data, and survive the loss of their leader."""
    await _apply(context)
    await context.client.until(
        POD, lambda pods: len(pods) == 4 and all(map(_serves, pods.values())), what="containers", timeout_s=START_S
    )
    pods = await context.client.list_all(POD, labels=f"app={NAME}")
    assert len({one["spec"]["nodeName"] for one in pods}) == 3, "the members do not run on three nodes"

    ids = await _form(context)
    await context.client.until_one(
        STATEFUL_SET,
        NAME,
        lambda one: one["status"].get("readyReplicas") == 3,
        what="three Ready members",
        timeout_s=60,
    )
    document = {"name": "kept", "number": 7}
    written = await _call(context, "PUT", f"{_url(context, MEMBERS[1])}/api/v1/kv/bucket/key", document)
    assert written.status in (200, 201), written
    read = await _call(context, "GET", f"{_url(context, MEMBERS[2])}/api/v1/kv/bucket/key")
    assert read.status == 200, read
    assert read.body == document, read

    leader = await _leader(context, MEMBERS[0])
    before = await context.client.get(POD, leader)
    await context.client.delete(POD, leader)
    started = time.monotonic()
    await context.client.until_one(
        POD,
        leader,
        lambda one: is_ready(one) and one["metadata"]["uid"] != before["metadata"]["uid"],
        what="Ready again after its deletion",
        timeout_s=START_S,
    )
    context.say(f"the leader's pod was Ready {time.monotonic() - started:.1f} s after its deletion")
    again = await _call_new_pod(context, "GET", f"{_url(context, leader)}/api/v1/kv/bucket/key")
    assert again.body == document, again
    status = await _status(context, leader)
    assert status["node_id"] == ids[leader], "the member has another node ID: it lost its volume"


async def _apply(context: Context) -> None:
    await context.client.apply(_secret(context.namespace))
    await context.client.apply(headless_service(NAME, LABELS, {"client": CLIENT, "peer": PEER, "metrics": METRICS}))
    await context.client.apply(_members(context))
    tools = container("main", context.images.toolbox, IDLE, volumeMounts=[{"name": "tls", "mountPath": "/tls"}])
    files = [{"key": key, "path": key} for key in ("ca.crt", f"{ADMINISTRATOR}.crt", f"{ADMINISTRATOR}.key")]
    await context.client.apply(pod("client", pod_spec(tools, volumes=[_tls_volume(files)])))


def _members(context: Context) -> Object:
    host = f"$(COLLECTIONSTORE_NAME).{NAME}.{context.namespace}.svc"
    settings = {
        "CLUSTER_ID": CLUSTER_ID,
        "DATA_DIR": "/var/lib/collectionstore/data",
        "TLS_DIR": "/tls/$(COLLECTIONSTORE_NAME)",
        "CLIENT_ADDRESS": f"0.0.0.0:{CLIENT}",
        "PEER_ADDRESS": f"0.0.0.0:{PEER}",
        "METRICS_ADDRESS": f"0.0.0.0:{METRICS}",
        "CLIENT_ADVERTISE": f"https://{host}:{CLIENT}",
        "PEER_ADVERTISE": f"{host}:{PEER}",
    }
    name = {"name": "COLLECTIONSTORE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    node = container(
        "node",
        context.images.node,
        env=[name, *({"name": f"COLLECTIONSTORE_{key}", "value": value} for key, value in settings.items())],
        startupProbe=_probe("/livez"),
        readinessProbe=_probe("/readyz"),
        volumeMounts=[
            {"name": "data", "mountPath": "/var/lib/collectionstore"},
            {"name": "tls", "mountPath": "/tls", "readOnly": True},
        ],
    )
    files = [
        {"key": key, "path": f"{member}/{file}"}
        for member in MEMBERS
        for key, file in (("ca.crt", "ca.crt"), (f"{member}.crt", "tls.crt"), (f"{member}.key", "tls.key"))
    ]
    spec = pod_spec(node, affinity=one_per_node(LABELS), volumes=[_tls_volume(files)])
    return stateful_set(NAME, LABELS, len(MEMBERS), spec, [claim("data")])


def _probe(path: str) -> Object:
    return {"httpGet": {"path": path, "port": METRICS}, "periodSeconds": 1, "timeoutSeconds": 2, "failureThreshold": 60}


def _tls_volume(files: list[Object]) -> Object:
    return {"name": "tls", "secret": {"secretName": "tls", "defaultMode": 0o440, "items": files}}


def _secret(namespace: str) -> Object:
    """Return a Secret with certificates of all members and an administrator, signed by one certificate authority."""
    now = time.time()
    authority = make_authority(NAME, CLUSTER_ID, lifetime_s=LIFETIME_S, now=now)
    data = {"ca.crt": authority.certificate_pem}
    for member in MEMBERS:
        dns = f"DNS:{member}.{NAME}.{namespace}.svc"
        _add(data, member, _leaf(authority, CertificateKind.MEMBER, member, dns, now))
    _add(data, ADMINISTRATOR, _leaf(authority, CertificateKind.OPERATOR, ADMINISTRATOR, "", now))
    encoded = {key: base64.b64encode(content).decode() for key, content in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "tls"}, "data": encoded}


def _leaf(authority: KeyPair, kind: CertificateKind, name: str, dns: str, now: float) -> KeyPair:
    names = tuple(one for one in (f"URI:collectionstore://{CLUSTER_ID}/{name}", dns) if one)
    return make_leaf(authority, kind=kind, name=name, names=names, lifetime_s=LIFETIME_S, now=now)


def _add(data: dict[str, bytes], name: str, pair: KeyPair) -> None:
    data[f"{name}.crt"], data[f"{name}.key"] = pair.certificate_pem, pair.key_pem


def _serves(one: Object) -> bool:
    """Return whether a pod's containers have started; members are Ready only after they have formed a cluster."""
    statuses = one["status"].get("containerStatuses") or []
    return bool(statuses) and all(status.get("started") for status in statuses)


async def _form(context: Context) -> dict[str, str]:
    """Bootstrap on the first member, add the others as learners, then promote them; return all node IDs."""
    ids = {member: (await _status(context, member))["node_id"] for member in MEMBERS}
    api = f"{_url(context, MEMBERS[0])}/api/v1/cluster"
    formed = await _call(context, "POST", f"{api}/bootstrap", {})
    assert formed.status == 200, formed
    for action in ("add", "promote"):
        changes = []
        for member in MEMBERS[1:]:
            host = f"{member}.{NAME}.{context.namespace}.svc"
            addresses = {"name": member, "address": f"{host}:{PEER}", "http_address": f"https://{host}:{CLIENT}"}
            changes.append({"action": action, "node_id": ids[member], **addresses})
        changed = await _call(context, "POST", f"{api}/members", {"changes": changes})
        assert changed.status == 200, changed
    return ids


async def _leader(context: Context, member: str) -> str:
    status = await _status(context, member)
    return str(status["leader"]["name"])


async def _status(context: Context, member: str) -> Any:
    answer = await _call(context, "GET", f"http://{member}.{NAME}.{context.namespace}.svc:{METRICS}/status")
    assert answer.status == 200, answer
    return answer.body


def _url(context: Context, member: str) -> str:
    return f"https://{member}.{NAME}.{context.namespace}.svc:{CLIENT}"


async def _call_new_pod(context: Context, method: str, url: str) -> Answer:
    """Call a pod that has a new address: its name may lead to the old one as long as DNS answers are cached."""
    deadline = time.monotonic() + DNS_CACHED_S
    while True:
        try:
            return await _call(context, method, url)
        except AssertionError:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(1)


async def _call(context: Context, method: str, url: str, body: Object | None = None) -> Answer:
    sent = "" if body is None else json.dumps(body)
    try:
        printed = await context.kubectl.exec("client", "python3", "-c", CALL, method, url, sent)
    except CommandRefused as refused:
        raise AssertionError(f"{method} {url}: {refused.output.splitlines()[-1]}") from refused
    status, _, content = printed.partition("\n")
    return Answer(int(status), json.loads(content) if content else None)
