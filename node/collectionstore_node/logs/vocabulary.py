"""The events that a node logs besides those of every program. docs/reference/logs.md is generated from this table.

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
    LogEvent("node.started", ("info",), "The member has started and serves clients and peers.", ("version", "node_id", "new", "client", "peer", "metrics")),
    LogEvent("storage.resealing", ("info",), "The data directory was given a key, or a new one: all values are sealed by it before the member serves.", ("path", "size_bytes")),
    LogEvent("storage.not_resealed", ("error",), "The disk has no room to seal all values by the new key: those from before stay under the old one, until a start finds room.", ("path", "needed_bytes", "available_bytes")),
    LogEvent("storage.resealed", ("info",), "That is done, and nothing is left that another key could read.", ("path", "values")),
    LogEvent("directory.recovered", ("info",), "The data directory is that of a new cluster after the loss of a quorum; `already` if an earlier start had made it so.", ("nonce", "node_id", "index", "revision", "already")),
    LogEvent("admin.open", ("warning",), "Without client TLS and without COLLECTIONSTORE_ADMIN_TOKEN_FILE, everybody on this machine may change the cluster.", ("address",)),
    LogEvent("token.refused", ("error",), "The file of the admin token cannot be used; requests that change the cluster are refused.", ("file", "reason")),
    LogEvent("authentication.refused", ("info",), "A request had no valid credential; one line in ten seconds for each reason. `tolerated` as access control is permissive.", ("reason", "address", "tolerated")),
    LogEvent("authentication.not_swept", ("debug",), "What lasts could not be looked at, as the state cannot be read.", ("reason",)),
    LogEvent("keys.unavailable", ("warning",), "The keys of an issuer of tokens could not be fetched; those that are known stay in use until they are too old. Logged once for each reason.", ("issuer", "reason")),
    LogEvent("keys.available", ("info",), "The keys of an issuer were fetched again.", ("issuer",)),
    LogEvent("keys.rotated", ("info",), "Keys of an issuer have gone; what they have signed is not accepted any more.", ("issuer", "removed", "keys")),
    LogEvent("keys.expired", ("error",), "The keys of an issuer are too old, as it could not be reached for long; its tokens are refused until it can.", ("issuer", "age_s")),
    LogEvent("node.stopping", ("info",), "The member received SIGTERM or SIGINT and shuts down; a leader transfers leadership first."),
    LogEvent("node.refused", ("error",), "The member cannot start with its settings or its data directory; the reason says what to do.", ("reason",)),
    LogEvent("node.failed", ("error",), "A bug ended the process.", ("reason",), error=True),
    LogEvent("memory.exhausted", ("error",), "An allocation failed in this place, and the process ends at once, with exit code 75.", ("place", "reason")),
    LogEvent("disk.failed", ("error",), "The disk reported an error and the process exits; the log is verified at the next start.", ("reason",)),
    LogEvent("descriptors.limited", ("info",), "The limit of open files at the start, raised from `before`; connections share it with storage.", ("limit", "before")),
    LogEvent("descriptors.exhausted", ("error",), "No file could be opened and the process exits: the limit of open files is too low, the disk is healthy.", ("reason",)),
    # The audit log
    LogEvent("audit.started", ("info",), "The member keeps an audit log, with these sinks; `blocking` says when requests are refused for it.", ("sinks", "blocking")),
    LogEvent("audit.anchored", ("info",), "Where the chain of a sink stands: an anchor, for `csctl audit verify --anchor SEQUENCE:HASH`.", ("sink", "chain", "sequence", "hash")),
    LogEvent("audit.sink_failed", ("error",), "A sink of the audit log takes no records; they are queued, and it is tried again.", ("sink", "reason")),
    LogEvent("audit.sink_recovered", ("info",), "It takes records again; `queued` are left, and `dropped` were lost since the start.", ("sink", "queued", "dropped")),
    LogEvent("audit.dropping", ("error",), "The queue of a sink is full: records for it are lost from here on, and counted.", ("sink", "queued", "reason")),
    LogEvent("audit.lost", ("error",), "The member stops, and a sink has not taken these records.", ("sink", "records", "reason")),
    # Leadership and the log
    LogEvent("leader.elected", ("info",), "The member learned of a new leader, or became leader; `elected_by` lists the voters that voted for it in that case.", ("leader", "role", "term", "elected_by")),
    LogEvent("leader.lost", ("info",), "The member no longer knows a leader.", ("role", "term")),
    LogEvent("leadership.kept", ("info",), "A stopping leader found no voter to transfer leadership to.", ("reason",)),
    LogEvent("term.adopted", ("info",), "A message with a higher term raised the member's term; `deposed` says whether it was leader.", _TERM),
    LogEvent("term.jumped", ("warning",), "A message raised the term by more than elections explain; check the sender.", _TERM),
    LogEvent("commit.learnt", ("info",), "A vote message carried a higher commit index.", ("sender", "index", "was")),
    LogEvent("configuration.applied", ("info",), "A membership change was applied.", ("index", "voters", "outgoing", "learners")),
    LogEvent("level.raised", ("info",), "The feature level of the state was raised by this entry; programs that do not support it refuse the data from now on.", ("feature_level", "was", "index")),
    LogEvent("entry.not_applied", ("error",), "The member cannot apply this entry and exits; `command` is the position of the command in the entry and `action` its kind, `reason` the kind of error.", ("index", "term", "kind", "bytes", "command", "action", "reason")),
    LogEvent("cluster.bootstrapped", ("info",), "This member bootstrapped the cluster.", ("node_id",)),
    LogEvent("expiry.many", ("info",), "This member, as the leader, is removing many documents and values that have expired; `records` are removed, of `queued` that have a deadline.", ("records", "queued")),
    LogEvent("history.limited", ("info",), "This member, as the leader, has set another bound of the history of changes: a lower one while a member is short of disk space, 0 for the usual one behind that.", ("bytes_max", "bytes")),
    LogEvent("history.not_limited", ("debug",), "It could not; it tries again within a second.", ("reason",)),
    LogEvent("token.uses_not_stored", ("debug",), "When tokens of users were last used could not be stored; it is again when they are used again.", ("reason",)),
    LogEvent("index.built", ("info",), "This member, as the leader, has built an index, or found that it cannot be built; `result` is ready or failed.", ("collection", "index", "result", "documents", "reason")),
    LogEvent("log.compacted", ("info",), "Log entries up to this index were removed.", ("index", "bytes")),
    LogEvent("message.rejected", ("warning",), "A peer sent a message that no correct peer sends; it was dropped.", ("sender", "reason")),
    LogEvent("space.short", ("warning",), "This member is short of disk space, or has reached its quota: the cluster takes no more data.", ("cause", "free_bytes", "used_bytes", "resume_bytes")),
    LogEvent("space.enough", ("info",), "This member has enough space again.", ("free_bytes", "used_bytes")),
    LogEvent("stall.found", ("warning",), "The event loop, an fsync or apply was blocked for longer than an election timeout.", ("kind", "seconds", "limit_s", "stepped_down")),
    LogEvent("stall.ended", ("info",), "The blocked operation continues.", ("kind", "seconds")),
    LogEvent("operation.slow", ("warning",), "An operation took longer than its threshold; `phases` says where the time was spent, `omitted` how many lines of the kind were suppressed since the last one.", ("kind", "seconds", "threshold_s", "route", "method", "code", "request_id", "commands", "entries", "index", "phases", "omitted")),
    # Whether members agree
    LogEvent("state.diverged", ("error",), "The state of a member differs from that of the majority; the member must be replaced.", ("node_id", "index", "digests")),
    LogEvent("state.disputed", ("error",), "The states of members differ and no majority agrees.", ("node_id", "index", "digests")),
    LogEvent("state.not_comparable", ("error",), "A connected member's state could not be compared for a minute.", ("node_id",)),
    LogEvent("state.suspect_not_told", ("warning",), "A member whose state differs could not be notified.", ("node_id", "reason")),
    LogEvent("digests.unreadable", ("warning",), "A member answered a state comparison with a message that could not be decoded.", ("node_id", "reason")),
    # Snapshots
    LogEvent("snapshot.exported", ("info",), "A snapshot was created for a follower.", ("index", "bytes", "seconds")),
    LogEvent("snapshot.sent", ("info",), "A follower received a snapshot completely.", ("to", "index", "bytes")),
    LogEvent("snapshot.installed", ("info",), "A received snapshot replaced this member's state.", ("index", "seconds")),
    LogEvent("snapshot.paused", ("info",), "Sending a snapshot was interrupted and resumes later.", ("node_id", "offset", "reason")),
    LogEvent("snapshot.interrupted", ("info",), "Receiving a snapshot was interrupted.", ("peer", "reason")),
    LogEvent("snapshot.refused", ("warning",), "An offered snapshot was rejected.", ("peer", "reason")),
    LogEvent("snapshot.failed", ("warning", "error"), "A snapshot could not be sent or received.", ("to", "peer", "reason"), error=True),
    LogEvent("snapshot.not_installed", ("error",), "A received snapshot could not be passed to the member's driver.", ("node_id",), error=True),
    LogEvent("state.exported", ("info",), "A client read the whole state at this index, for a backup.", ("index", "bytes", "seconds")),
    LogEvent("documents.exported", ("info",), "A client read a collection, or what matched of it.", ("documents", "bytes", "seconds")),
    LogEvent("export.ended", ("info",), "An export, of a collection or of the whole state, was ended before its end.", ("reason",)),
    LogEvent("export.failed", ("error",), "The whole state could not be read to its end because of a bug or a disk error.", (), error=True),
    # Connections between members
    LogEvent("peer.connected", ("info",), "The outbound connection to a peer is established.", (*_PEER, "address")),
    LogEvent("peer.disconnected", ("info", "warning"), "The outbound connection to a peer ended; a warning unless it was closed in order.", _LINK),
    LogEvent("peer.not_renewed", ("warning",), "A new connection could not replace an established one, which stays in use.", _LINK),
    LogEvent("peer.unreachable", ("warning",), "A peer cannot be reached; logged once per reason.", _LINK),
    LogEvent("peer.refused", ("warning",), "A peer rejects this member's connection.", _LINK),
    LogEvent("peer.rejected", ("warning",), "An inbound connection was rejected, or closed for a protocol violation.", ("peer", "reason", "detail")),
    LogEvent("peer.hung_up", ("debug",), "The dialing peer closed the connection before completing the handshake.", ("peer", "reason")),
    LogEvent("peer.left", ("debug",), "A peer closed its inbound connection.", (*_PEER, "reason")),
    LogEvent("peer.failed", ("error",), "A bug occurred while serving or dialing a peer.", _PEER, error=True),
    LogEvent("port.exhausted", ("warning",), "A port could not accept for want of a descriptor; it closed idle connections and goes on.", ("port", "reason", "evicted")),
    LogEvent("port.handshake_failed", ("debug",), "A client of a port did not complete its TLS handshake.", ("port", "reason")),
    LogEvent("port.connection_failed", ("error",), "A bug occurred while a connection was opened.", ("port",), error=True),
    LogEvent("connection.failed", ("error",), "A bug occurred while a client's connection was served; it was closed.", error=True),
    LogEvent("access.refused", ("info",), "A caller may not do `verb` to the resource; the same line once in a minute. `permitted` if it was done all the same, as access control is permissive.", ("user", "verb", "resource", "name", "permitted")),
    LogEvent("watch.slow", ("info",), "A client did not take the events of its watch in time and was cut; it goes on from its token.", ("scope", "revision")),
    LogEvent("watch.failed", ("error",), "A bug or a disk error ended all watches of this member.", (), error=True),
    LogEvent("connection.unparsable", ("debug",), "A client sent bytes on which the HTTP parser failed; they were answered with 400.", ("reason",)),
    LogEvent("reply.dropped", ("warning",), "A reply to a peer was dropped: the send queue was full.", _PEER),
    LogEvent("request.failed", ("error",), "A request of a client (with `request_id`) or of a peer failed because of a bug or a disk error.", ("request_id", "method", *_PEER), error=True),
    LogEvent("routes.changed", ("warning",), "Peers are dialed at other addresses: a fault is injected on this machine.", ("peers",)),
    LogEvent("routes.refused", ("warning",), "The file of other addresses is not valid.", ("reason",)),
    # Certificates
    LogEvent("certificate.wanted", ("info",), "The member needs a certificate and requests one.", ("reason",)),
    LogEvent("certificate.requested", ("info",), "The CertificateSigningRequest was created.", ("request",)),
    LogEvent("certificate.waiting", ("warning",), "The certificate has not been issued yet, for this reason.", ("reason",)),
    LogEvent("certificate.stored", ("info",), "The issued certificate was stored.", ("request", "not_after")),
    LogEvent("certificate.not_stored", ("error",), "The issued certificate could not be written.", ("reason",)),
    LogEvent("certificate.refused", ("error",), "A new certificate is not valid; the current one stays in use.", ("purpose", "reason")),
    LogEvent("certificate.reloaded", ("info",), "The client port serves a new certificate.", ("purpose",)),
    LogEvent("certificates.reloaded", ("info",), "Connections between members use new certificates.", ("not_after",)),
    LogEvent("certificates.refused", ("warning",), "New certificates for connections between members are not valid; the current ones stay in use.", ("reason",)),
    LogEvent("enrolment.failed", ("error",), "A bug ended certificate renewal; the member continues with its current certificate.", (), error=True),
)
# fmt: on
