"""A CertificateSigningRequest as the planner sees it: the requester is what the API server stamped on it. Pure.

ServiceAccount and pod come from the token of the request, which is bound to the pod; no client can write those fields.
Source: Kubernetes docs, "Certificates and Certificate Signing Requests"; KEP-4193.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from collectionstore_operator.model.observed import SigningRequest
from collectionstore_operator.resource import labels
from collectionstore_operator.resource.desired import Desired

SIGNER: Final = f"{labels.GROUP}/node"
_POD_NAME: Final = "authentication.kubernetes.io/pod-name"
_POD_UID: Final = "authentication.kubernetes.io/pod-uid"


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
    )
