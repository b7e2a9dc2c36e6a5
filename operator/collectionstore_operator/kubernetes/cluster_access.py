"""Through what one cluster is read and changed; the observer and the executor share it."""

from __future__ import annotations

from dataclasses import dataclass

from collectionstore_operator.kubernetes.api import Kube
from collectionstore_operator.kubernetes.api.tenure import Tenure
from collectionstore_operator.kubernetes.authority import Authority
from collectionstore_operator.kubernetes.caches.reads import Reads
from collectionstore_operator.kubernetes.children import Children
from collectionstore_operator.kubernetes.custom_resource import CustomResource
from collectionstore_operator.kubernetes.enrolment import Enrolment
from collectionstore_operator.kubernetes.final_backups import FinalBackups
from collectionstore_operator.kubernetes.known_backups import KnownBackups
from collectionstore_operator.kubernetes.record import Record
from collectionstore_operator.kubernetes.schedules import Schedules
from collectionstore_operator.reconcile.access_control import AccessControl
from collectionstore_operator.reconcile.node_client import NodeClient


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterAccess:
    """The API server, the nodes, and the objects of the cluster that keep state between rounds."""

    kube: Kube
    """For writes, and for the reads that they begin with."""
    reads: Reads
    """For observations."""
    tenure: Tenure
    nodes: NodeClient
    resource: CustomResource
    record: Record
    authority: Authority
    children: Children
    enrolment: Enrolment
    schedules: Schedules
    backups: KnownBackups
    final_backups: FinalBackups
    control: AccessControl
