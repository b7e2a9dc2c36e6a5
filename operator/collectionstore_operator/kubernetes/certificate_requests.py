"""A CertificateSigningRequest as the planner sees it: the requester is what the API server stamped on it. Pure.

ServiceAccount and pod come from the token of the request, which is bound to the pod; no client can write those fields.
Source: Kubernetes docs, "Certificates and Certificate Signing Requests"; KEP-4193.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, Final

from collectionstore_operator.model.observed import RequestPurpose, SigningRequest
from collectionstore_operator.reconcile.pki import requested_node
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired

PURPOSE: Final = f"{labels.GROUP}/purpose"
"""Label of a request, where peers and clients have authorities of their own; one of `RequestPurpose`."""
SIGNER: Final = f"{labels.GROUP}/node"
_POD_NAME: Final = "authentication.kubernetes.io/pod-name"
_POD_UID: Final = "authentication.kubernetes.io/pod-uid"
_NODE_NAME: Final = "authentication.kubernetes.io/node-name"


def account(desired: Desired) -> str:
    """Return the user name under which the pods of a cluster authenticate."""
    return f"system:serviceaccount:{desired.namespace}:{labels.service_account(desired.name)}"


def read_request(body: Mapping[str, Any], desired: Desired) -> SigningRequest | None:
    """Return a pending request of a cluster's pods; None for one that is answered or of another requester."""
    spec, status = body["spec"], body.get("status") or {}
    if spec.get("signerName") != SIGNER or spec.get("username") != account(desired):
        return None
    if status.get("certificate") or any(one["type"] in ("Denied", "Failed") for one in status.get("conditions") or ()):
        return None
    extra = spec.get("extra") or {}
    return SigningRequest(
        name=body["metadata"]["name"],
        member=next(iter(extra.get(_POD_NAME) or ()), ""),
        pod_uid=next(iter(extra.get(_POD_UID) or ()), ""),
        node_id=requested_node(_request_pem(spec.get("request") or "")),
        purpose=_purpose(body),
    )


def _purpose(body: Mapping[str, Any]) -> RequestPurpose:
    """Return what a certificate is requested for; an unknown label asks for no more than none does."""
    asked = (body["metadata"].get("labels") or {}).get(PURPOSE)
    return next((one for one in RequestPurpose if one.value == asked), RequestPurpose.MEMBER)


def _request_pem(encoded: str) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except ValueError:
        return b""  # the API server takes nothing else; such a request is refused when it is signed


def unproved(request: Mapping[str, Any], pod: Mapping[str, Any], workload: Mapping[str, Any], desired: Desired) -> str:
    """Return why it is not proved that a member's pod made a request; empty once it is.

    Whoever may create pods in the namespace can give one the name, the labels and the ServiceAccount of a member. So
    the pod must be the one that the request is bound to, run with that account where the request came from, and be
    controlled by the StatefulSet of the cluster, which is named by its uid.
    """
    extra, spec, name = request["spec"].get("extra") or {}, pod["spec"], pod["metadata"]["name"]
    if pod["metadata"]["uid"] not in (extra.get(_POD_UID) or ()):
        return f"it is bound to another pod than the present {name}"
    if spec.get("serviceAccountName") != labels.service_account(desired.name):
        return f"the pod {name} runs as {spec.get('serviceAccountName') or 'nobody'}"
    machines = extra.get(_NODE_NAME) or ()
    if machines and spec.get("nodeName") not in machines:
        return f"it came from the node {machines[0]}, the pod {name} is on {spec.get('nodeName') or 'none'}"
    controllers = [one for one in pod["metadata"].get("ownerReferences") or () if one.get("controller")]
    if not any(one.get("uid") == workload["metadata"]["uid"] for one in controllers):
        return f"the pod {name} is not controlled by the StatefulSet {desired.workload}"
    return ""
