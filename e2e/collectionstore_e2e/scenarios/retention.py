"""Volume retention: a cluster that is deleted and created again has its data."""

from __future__ import annotations

import asyncio
import json
from typing import Final

from collectionstore_e2e.clients.pod import clients
from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.errors import command_refusal
from collectionstore_e2e.harness.kinds import CLUSTER, NAMESPACE, VOLUME
from collectionstore_e2e.harness.namespaces import namespace_manifest, second_namespace
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.installation import operator
from collectionstore_e2e.product.store import READY_S, Store, condition_text

GONE_S: Final = 90.0
BACK_S: Final = 30.0
"""How soon clients write again after the new resource is Ready."""
METRICS_PORT: Final = 7402
PROTECTION: Final = "collectionstore.io/deletion-protection"
DOCUMENT: Final = '{"title":"Dune"}'
REQUEST: Final = """
import ssl, sys, urllib.request
trusted = ssl.create_default_context(cafile="/etc/collectionstore/trust/ca.crt")
collection = "https://localhost:7400/api/v1/collections/books"
def ask(url, data=None):
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(url, data, headers, method="GET" if data is None else "PUT")
    return urllib.request.urlopen(request, context=trusted, timeout=10).read().decode()
if sys.argv[1] == "PUT":
    ask(collection, b"")
    ask(f"{collection}/documents/dune", sys.stdin.read().encode())
print(ask(f"{collection}/documents/dune"))
"""
CLAIMS: Final = """
{{- range .items}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata:
  name: {{index .metadata.annotations "collectionstore.io/claim"}}
  annotations:
    collectionstore.io/cluster-id: "{{index .metadata.annotations "collectionstore.io/cluster-id"}}"
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: "{{.spec.storageClassName}}"
  volumeName: {{.metadata.name}}
  resources: {requests: {storage: {{.spec.capacity.storage}}}}
{{- end}}
"""
"""Claims for the retained volumes of a cluster, as in docs/operate/kubernetes.md."""


@scenario(timeout_s=420)
async def a_recreated_cluster_reuses_its_volumes(context: Context) -> None:
    """deletionProtection blocks deletion; without it pods are deleted, volumes kept, and a new resource reuses them.

    Without the admission policies, which would refuse the deletion; with retention Delete, which a deletion that was
    requested while the resource was protected does not follow.
    """
    async with operator(context, "--set=admissionPolicies.enabled=false"):
        store, loop = Store(context), asyncio.get_running_loop()
        await store.apply(deletionProtection=True, storage={"size": "64Mi", "retention": "Delete"})
        await store.until_settled(3, timeout_s=READY_S)
        async with clients(context) as load:
            members = await store.members()
            await context.kubectl("delete", "csc", store.name, "--wait=false")
            found = await store.until(
                lambda one: "rotect" in condition_text(one, "Progressing"),
                what="Progressing to report the protection",
                timeout_s=30,
            )
            context.say(f"protected: {condition_text(found, 'Progressing')}")
            await load.working()
            assert set(await store.pods()) == set(members)

            deleted = loop.time()
            await store.change(deletionProtection=False)
            await context.client.until_gone(CLUSTER, store.name, timeout_s=GONE_S)
            await store.until_pods(lambda pods: not pods, what="no pods")
            context.say(f"deleted after {loop.time() - deleted:.1f} s")
            claims = {name: one["spec"]["volumeName"] for name, one in (await store.claims()).items()}
            assert set(claims) == {f"data-{name}" for name in members}, claims

            began = loop.time()
            await store.apply()
            await store.until_settled(3, timeout_s=READY_S)
            context.say(f"Ready again after {loop.time() - began:.1f} s")
            assert await store.members() == members, "the members have other node IDs than before"
            await load.working(timeout_s=BACK_S)
            kept = {name: one["spec"]["volumeName"] for name, one in (await store.claims()).items()}
            assert kept == claims, f"volumes before: {claims}; now: {kept}"


@scenario(timeout_s=480, exclusive=True)
async def the_data_of_a_deleted_namespace_are_recovered(context: Context) -> None:
    """A namespace is deleted with a cluster in it: the volumes stay, and a new cluster continues with their data."""
    async with second_namespace(context) as other, operator(context, "--set=watchNamespaces=null"):
        store = Store(other)
        await store.apply(deletionProtection=True)
        await store.until_settled(3, timeout_s=READY_S)
        await context.kubectl("label", "namespace", other.namespace, f"{PROTECTION}=true")
        refused = await command_refusal(context.kubectl("delete", "namespace", other.namespace))
        assert PROTECTION in refused.output, refused.output
        refused = await command_refusal(other.kubectl("delete", "csc", store.name))
        assert "spec.deletionProtection is true" in refused.output, refused.output
        context.say(f"refused: {refused.output.splitlines()[0]}")
        async with clients(other) as load:
            await load.working()
        await other.kubectl.exec("demo-0", "python3", "-c", REQUEST, "PUT", stdin=DOCUMENT)
        found = await store.read()
        volumes = {name: one["spec"]["volumeName"] for name, one in (await store.claims()).items()}
        members, cluster_id = await store.members(), found["status"]["clusterID"]
        before = await _revision(other, store)

        await context.kubectl("label", "namespace", other.namespace, f"{PROTECTION}-")
        await context.client.delete(NAMESPACE, other.namespace)
        await context.client.until_gone(NAMESPACE, other.namespace, timeout_s=GONE_S)
        for name in volumes.values():
            kept = await context.client.get(VOLUME, name)
            assert kept["status"]["phase"] == "Released", kept["status"]
            assert kept["spec"]["persistentVolumeReclaimPolicy"] == "Retain", kept["spec"]

        chosen = f"--selector=collectionstore.io/namespace={other.namespace},collectionstore.io/cluster={store.name}"
        claims = await context.kubectl("get", "persistentvolumes", chosen, f"--output=go-template={CLAIMS}")
        names = (await context.kubectl("get", "persistentvolumes", chosen, "--output=name")).split()
        assert sorted(names) == sorted(f"persistentvolume/{name}" for name in volumes.values()), names
        forget = '[{"op": "remove", "path": "/spec/claimRef"}]'
        await context.kubectl("patch", *names, "--type=json", f"--patch={forget}")
        await context.client.create(namespace_manifest(other.namespace))
        await other.kubectl("apply", "--filename=-", stdin=claims)
        await store.apply()
        await store.until_settled(3, timeout_s=READY_S)
        assert (await store.read())["status"]["clusterID"] == cluster_id
        assert await store.members() == members, "the members have other node IDs than before"
        assert await _revision(other, store) >= before
        assert {name: one["spec"]["volumeName"] for name, one in (await store.claims()).items()} == volumes
        answer = await other.kubectl.exec("demo-1", "python3", "-c", REQUEST, "GET")
        assert json.loads(answer) == json.loads(DOCUMENT), answer


async def _revision(context: Context, store: Store) -> int:
    """Return the revision that the leader has applied: it counts every write, and never falls."""
    status = await context.client.ask_pod(await store.leader(), METRICS_PORT, "/status")
    return int(json.loads(status)["revision"])
