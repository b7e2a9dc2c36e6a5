"""The events that a node logs besides those of every program. docs/logs.md is generated from this table.

A test walks the code and finds each call in the table, and each row in a call. Fields hold names, numbers and reasons;
never a document, a key, a value, a filter or a secret.
"""

from __future__ import annotations

from typing import Final

from collectionstore_telemetry.logs import LogEvent

FIELDS: Final[dict[str, str]] = {"member": "name of this member"}
"""Fields of every line, besides those that every program has."""

_PEER: Final = ("peer", "node_id")
_LINK: Final = (*_PEER, "address", "reason")
_TERM: Final = ("sender", "message", "term", "was", "deposed")

# One line an event, however long: it is a table.
# ruff: noqa: E501
# fmt: off
EVENTS: Final[tuple[LogEvent, ...]] = (
    # The process
    LogEvent("node.started", ("info",), "The member serves.", ("version", "node_id", "new", "client", "peer", "metrics")),
    LogEvent("node.stopping", ("info",), "A signal asked the member to stop; a leader hands over first."),
    LogEvent("node.refused", ("error",), "It cannot start as it is set up; the reason says what to do.", ("reason",)),
    LogEvent("node.failed", ("error",), "A bug ended the process.", ("reason",), error=True),
    LogEvent("disk.failed", ("error",), "The disk reported an error and the process ended; a restart verifies the log.", ("reason",)),
    # Leadership and the log
    LogEvent("leader.elected", ("info",), "Another leader is known, or this member is it; `elected_by` lists its voters then.", ("leader", "role", "term", "elected_by")),
    LogEvent("leader.lost", ("info",), "No leader is known any more.", ("role", "term")),
    LogEvent("leadership.kept", ("info",), "A stopping leader found nobody to hand over to.", ("reason",)),
    LogEvent("term.adopted", ("info",), "A message raised the term; `deposed` says whether this member led.", _TERM),
    LogEvent("term.jumped", ("warning",), "A message raised the term by more than elections explain: look at its sender.", _TERM),
    LogEvent("commit.learnt", ("info",), "A vote message told of a commit.", ("sender", "index", "was")),
    LogEvent("configuration.applied", ("info",), "The membership changed.", ("index", "voters", "outgoing", "learners")),
    LogEvent("cluster.bootstrapped", ("info",), "This member founded the cluster.", ("node_id",)),
    LogEvent("log.compacted", ("info",), "Old log entries were given up.", ("index", "bytes")),
    LogEvent("message.rejected", ("warning",), "A peer sent what no correct peer sends; nothing was done with it.", ("sender", "reason")),
    LogEvent("stall.found", ("warning",), "The event loop, a sync or applying was stuck for an election timeout.", ("kind", "seconds", "limit_s", "stepped_down")),
    LogEvent("stall.ended", ("info",), "What was stuck goes on.", ("kind", "seconds")),
    LogEvent("operation.slow", ("warning",), "Something took longer than its threshold; `phases` says where the time went, `omitted` how many lines of the kind were left out since the last.", ("kind", "seconds", "threshold_s", "route", "method", "code", "request_id", "commands", "entries", "index", "phases", "omitted")),
    # Whether members agree
    LogEvent("state.diverged", ("error",), "The state of a member differs from the majority's; it is to be replaced.", ("node_id", "index", "digests")),
    LogEvent("state.disputed", ("error",), "States differ, and no majority says who is right.", ("node_id", "index", "digests")),
    LogEvent("state.not_comparable", ("error",), "A member is heard, and its state could not be compared for a minute.", ("node_id",)),
    LogEvent("state.suspect_not_told", ("warning",), "A member that differs could not be told so.", ("node_id", "reason")),
    LogEvent("digests.unreadable", ("warning",), "A member's answer to a comparison could not be read.", ("node_id", "reason")),
    # Snapshots
    LogEvent("snapshot.exported", ("info",), "A snapshot was made for a follower.", ("index", "bytes", "seconds")),
    LogEvent("snapshot.sent", ("info",), "A follower has received a snapshot.", ("to", "index", "bytes")),
    LogEvent("snapshot.installed", ("info",), "A snapshot replaced this member's state.", ("index", "seconds")),
    LogEvent("snapshot.paused", ("info",), "Sending was interrupted and goes on later.", ("node_id", "offset", "reason")),
    LogEvent("snapshot.interrupted", ("info",), "Receiving was interrupted.", ("peer", "reason")),
    LogEvent("snapshot.refused", ("warning",), "A snapshot that was offered was refused.", ("peer", "reason")),
    LogEvent("snapshot.failed", ("warning", "error"), "A snapshot could not be sent, or be received.", ("to", "peer", "reason"), error=True),
    LogEvent("snapshot.not_installed", ("error",), "A received snapshot could not be handed to the member.", ("node_id",), error=True),
    # Connections between members
    LogEvent("peer.connected", ("info",), "This member's connection to another is up.", (*_PEER, "address")),
    LogEvent("peer.disconnected", ("info", "warning"), "It ended; a warning unless it was orderly.", _LINK),
    LogEvent("peer.not_renewed", ("warning",), "An old connection could not be replaced by a new one.", _LINK),
    LogEvent("peer.unreachable", ("warning",), "A member cannot be dialled; told once per reason.", _LINK),
    LogEvent("peer.refused", ("warning",), "A member refuses this one.", _LINK),
    LogEvent("peer.rejected", ("warning",), "Who dialled was refused, or broke the protocol.", ("peer", "reason", "detail")),
    LogEvent("peer.hung_up", ("debug",), "Who dialled was gone before it had said who it is.", ("peer", "reason")),
    LogEvent("peer.left", ("debug",), "A member closed its connection.", (*_PEER, "reason")),
    LogEvent("peer.failed", ("error",), "A bug came up while serving or dialling a member.", _PEER, error=True),
    LogEvent("reply.dropped", ("warning",), "An answer to a member found its connection full.", _PEER),
    LogEvent("request.failed", ("error",), "A bug, or a disk that failed, answered a request of a client (with `request_id`) or of a member.", ("request_id", "method", *_PEER), error=True),
    LogEvent("routes.changed", ("warning",), "Members are dialled elsewhere: faults are being made on this machine.", ("peers",)),
    LogEvent("routes.refused", ("warning",), "The file with other addresses is not usable.", ("reason",)),
    # Certificates
    LogEvent("certificate.wanted", ("info",), "This member needs a certificate and asks for one.", ("reason",)),
    LogEvent("certificate.requested", ("info",), "The request is with Kubernetes.", ("request",)),
    LogEvent("certificate.waiting", ("warning",), "Something keeps the certificate from coming.", ("reason",)),
    LogEvent("certificate.stored", ("info",), "The certificate has come.", ("request", "not_after")),
    LogEvent("certificate.not_stored", ("error",), "It could not be written.", ("reason",)),
    LogEvent("certificate.refused", ("error",), "A new certificate is not usable; the old one stays in use.", ("purpose", "reason")),
    LogEvent("certificate.reloaded", ("info",), "The client port shows a new certificate.", ("purpose",)),
    LogEvent("certificates.reloaded", ("info",), "The connections between members use new certificates.", ("not_after",)),
    LogEvent("certificates.refused", ("warning",), "New certificates for them are not usable; the old ones stay in use.", ("reason",)),
    LogEvent("enrolment.failed", ("error",), "A bug ended the renewal of certificates; the member goes on with the one it has.", (), error=True),
)
# fmt: on
