"""The driver: the only code that executes a `Ready`, and the home of everyone who waits for one.

- `replica.py`     `Replica`: what clients and operators ask for, on any node
- `driver.py`      `Driver`: ticks and messages in; disk and network out
- `ports.py`       what a data directory must offer
- `gauges.py`      what a scrape reads of a member
- `disk.py`        appends on the loop, syncs and the witness in threads
- `applying.py`    committed entries become state
- `attribution.py` who made this node do what, for blaming a member that lies
- `proposals.py`   commands on their way into the log, and the futures that wait for their outcomes
- `reads.py`       linearizable reads: one ReadIndex round for all that arrive together
- `forwarding.py`  commands that a follower hands to the leader
- `calls.py`       what a follower asks of the leader on a client's behalf, and its encoding
- `members.py`     membership requests: checks, fencing, the `ConfigChange` they become
- `conditions.py`  waiting for what only a tick or a Ready can change
- `compaction.py`  when the log is cut
- `catch_up.py`    snapshots to followers that fell behind the cut
- `received.py`    snapshots that arrived and wait to be installed
- `digests.py`     whether members hold the same state: checkpoints, and what laying them together shows
- `comparing.py`   asks the members for theirs, and ends a member that differs from the majority
- `status.py`      what the node says of itself; `inspection.py` what it says to those who look for a cause
- `slow_entries.py`  where the time of entries goes
"""

from collectionstore_node.replica.driver.driver import Driver
from collectionstore_node.replica.membership.changes import MemberChange, MembersRequest
from collectionstore_node.replica.replica import ProcessFacts, Replica
from collectionstore_node.replica.reporting.gauges import MemberGauges
from collectionstore_node.replica.reporting.inspection import RaftReport
from collectionstore_node.replica.reporting.status import NodeStatus
from collectionstore_node.replica.settings import DriverSettings

__all__ = [
    "Driver",
    "DriverSettings",
    "MemberChange",
    "MemberGauges",
    "MembersRequest",
    "NodeStatus",
    "ProcessFacts",
    "RaftReport",
    "Replica",
]
