"""Pod identity as attested by the API server, on which the nodes' certificates depend."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import CERTIFICATE_REQUEST, POD, Kind, Object, is_ready
from collectionstore_e2e.harness.objects import IDLE, START_S, container, pod, pod_spec
from collectionstore_e2e.harness.scenario import scenario

SIGNER: Final = "collectionstore.io/node"
ACCOUNT: Final = "member"
TOKEN: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
ROLE: Final = Kind("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles", namespaced=False)
BINDING: Final = Kind("rbac.authorization.k8s.io/v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False)

ASK: Final = f"""
import json, ssl, sys, urllib.request
request = urllib.request.Request(
    "https://kubernetes.default.svc/apis/certificates.k8s.io/v1/certificatesigningrequests",
    sys.stdin.read().encode(),
    {{"Content-Type": "application/json", "Authorization": "Bearer " + open("{TOKEN}/token").read()}},
)
trusted = ssl.create_default_context(cafile="{TOKEN}/ca.crt")
print(urllib.request.urlopen(request, context=trusted, timeout=10).read().decode())
"""


@scenario(timeout_s=120)
async def a_certificate_request_identifies_its_pod(context: Context) -> None:
    """The API server records the pod's name and UID in its CertificateSigningRequest, which a signer then signs."""
    name = context.namespace
    try:
        await _allow_requests(context)
        spec = pod_spec(
            container("main", context.images.toolbox, IDLE),
            serviceAccountName=ACCOUNT,
            automountServiceAccountToken=True,
        )
        await context.client.apply(pod("asking", spec))
        asking = await context.client.until_one(POD, "asking", is_ready, what="Ready", timeout_s=START_S)

        made = json.loads(await context.kubectl.exec("asking", "python3", "-c", ASK, stdin=json.dumps(_request(name))))
        extra = made["spec"]["extra"]
        assert extra["authentication.kubernetes.io/pod-name"] == ["asking"], extra
        assert extra["authentication.kubernetes.io/pod-uid"] == [asking["metadata"]["uid"]], extra
        assert made["spec"]["username"] == f"system:serviceaccount:{name}:{ACCOUNT}", made["spec"]

        await _approve(context, made)
        certificate = _sign(made)
        status = {"status": {"certificate": base64.b64encode(certificate).decode()}}
        await context.client.patch(CERTIFICATE_REQUEST, name, status, subresource="status")
        found = await context.client.get(CERTIFICATE_REQUEST, name)
        assert base64.b64decode(found["status"]["certificate"]) == certificate
        context.say(f"recorded: {', '.join(sorted(key.rpartition('/')[2] for key in extra))}")
    finally:
        for kind in (CERTIFICATE_REQUEST, BINDING, ROLE):
            if await context.client.find(kind, name) is not None:
                await context.client.delete(kind, name)


async def _allow_requests(context: Context) -> None:
    """Allow the ServiceAccount to create CertificateSigningRequests, which are cluster-scoped: so is the role."""
    rule = {"apiGroups": ["certificates.k8s.io"], "resources": [CERTIFICATE_REQUEST.plural], "verbs": ["create"]}
    subject = {"kind": "ServiceAccount", "name": ACCOUNT, "namespace": context.namespace}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": ROLE.name, "name": context.namespace}
    metadata = {"name": context.namespace}
    await context.client.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": ACCOUNT}})
    await context.client.apply(
        {"apiVersion": ROLE.api_version, "kind": ROLE.name, "metadata": metadata, "rules": [rule]}
    )
    binding = {"metadata": metadata, "roleRef": role, "subjects": [subject]}
    await context.client.apply({"apiVersion": BINDING.api_version, "kind": BINDING.name, **binding})


def _request(name: str) -> Object:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "asking")])
    asked = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    pem = asked.public_bytes(serialization.Encoding.PEM)
    return {
        "apiVersion": CERTIFICATE_REQUEST.api_version,
        "kind": CERTIFICATE_REQUEST.name,
        "metadata": {"name": name},
        "spec": {
            "request": base64.b64encode(pem).decode(),
            "signerName": SIGNER,
            "usages": ["digital signature", "server auth", "client auth"],
            "expirationSeconds": 3600,
        },
    }


async def _approve(context: Context, request: Object) -> None:
    approved = {
        "type": "Approved",
        "status": "True",
        "reason": "PodIsMember",
        "message": "the requesting pod is a member",
    }
    request = {**request, "status": {"conditions": [approved]}}
    await context.client.put(CERTIFICATE_REQUEST, request["metadata"]["name"], request, subresource="approval")


def _sign(request: Object) -> bytes:
    asked = x509.load_pem_x509_csr(base64.b64decode(request["spec"]["request"]))
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(asked.subject)
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "authority")]))
        .public_key(asked.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )
    return signed.public_bytes(serialization.Encoding.PEM)
