"""One replica of the store: Raft core, log and state of a member, and what clients, peers and operators ask of it.

Construction goes one way, and every object is complete after its constructor:

    LocalMember -> PeerHandler -> (Transport) -> Driver -> Replica

- `replica.py`       `Replica`: the requests of clients and operators, on any node
- `reporting/`       status, `/debug/raft`, gauges
- `driver/`          the loop that executes a `Ready`: `driver.py` runs it, `ready_executor.py` has the order
- `comparison/`      whether members hold the same state; fences a member that does not
- `peers/`           what members send each other: messages, requests, forwarded commands
- `local_member.py`  `LocalMember`: everything below the network
- `snapshots/`       sending, receiving and installing snapshots
- `membership/`      membership changes, leadership transfer, bootstrap
- `health/`          the watchdog and what it ends
- `consensus/`       the Raft core with its queues and futures
- `persistence/`     log writes and syncs, applying, compaction
- `observation/`     one observer for traces, slow log and metrics
- `storage_port.py`, `transport_port.py`  what a data directory and a transport must offer
"""

from collectionstore_node.replica.driver.driver import Driver
from collectionstore_node.replica.local_member import Clocks, LocalMember
from collectionstore_node.replica.membership.changes import MemberChange, MembersRequest
from collectionstore_node.replica.observation.observer import NULL_OBSERVER, DriverObserver
from collectionstore_node.replica.observation.recording_observer import RecordingObserver
from collectionstore_node.replica.peers.handler import PeerHandler
from collectionstore_node.replica.replica import Replica
from collectionstore_node.replica.reporting.gauges import MemberGauges
from collectionstore_node.replica.reporting.inspection import RaftReport
from collectionstore_node.replica.reporting.reporter import ProcessFacts
from collectionstore_node.replica.reporting.status import (
    AuditSinkStatus,
    AuditStatus,
    CertificateStatus,
    NodeStatus,
    TlsStatus,
)
from collectionstore_node.replica.settings import ReplicaSettings

__all__ = [
    "NULL_OBSERVER",
    "AuditSinkStatus",
    "AuditStatus",
    "CertificateStatus",
    "Clocks",
    "Driver",
    "DriverObserver",
    "LocalMember",
    "MemberChange",
    "MemberGauges",
    "MembersRequest",
    "NodeStatus",
    "PeerHandler",
    "ProcessFacts",
    "RaftReport",
    "RecordingObserver",
    "Replica",
    "ReplicaSettings",
    "TlsStatus",
]
