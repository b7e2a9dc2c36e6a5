"""The Raft algorithm as a pure core: events in, one `Ready` of effects out. No clock, randomness, disk or network.

Features: leader election with pre-vote and check-quorum, replication with inflight windows and fast backtracking,
snapshots, linearizable reads without log entries (ReadIndex), learners, membership changes through joint consensus,
leadership transfer. Sources: Ongaro and Ousterhout 2014 ("Raft"), Ongaro 2014 ("thesis"), etcd-io/raft for the shape
and the names.

Duties of a driver
 1. Open. Sync once: the core takes everything on disk for durable. Create `RaftNode` from the hard state, the log, and
    the configuration and applied index of the state machine. The first node of a new cluster stores one entry (index
    1, term 1, a CHANGE that adds itself as a voter) and HardState(term=1, vote=0, commit=1) before that. Any other new
    node starts empty and waits for a leader.
 2. Time. Call `tick` at a constant rate. A pause longer than an election timeout is a fault like any other.
 3. Messages in. Authenticate the sender, then `step`. On `MessageRejected` count, log and drop the message; no state
    has changed. On `Fatal` stop the process.
 4. Ready. While `has_ready`: take `ready` and do, in this order: send `messages`; install `snapshot`, durably; store
    `entries` and `hard_state` in one batch; apply `committed` in order, calling `apply_change` for every CHANGE entry
    in its position and storing the returned configuration together with the applied index; call `advance`; answer
    `read_states` whose index is applied, fail `failed_reads`. Between `ready` and `advance` keep stepping, ticking and
    proposing; never hold two Ready. Log and state share one journal, which keeps that order in a crash.
    Beside that: sync what was stored with a `write` number. When a sync has ended, call `durable` with the last number
    it covers, and send what it returns. Syncs may lag behind by any number of Ready.
 5. Proposals. `propose` returns (index, term). The proposal is committed if the entry committed at that index has that
    term, and lost if it has another one. If leadership ends before either is known, the outcome is unknown.
 6. Membership. `propose_change` returns immediately. The change is complete when the configuration is not joint and
    `status().pending_change_index` is applied: only then stop nodes that were removed. A node ID is never reused after
    its removal, and never outlives its disk.
 7. Reads. `read_index(request_id)` on any node, with request IDs that are unique while pending. Serve the read once the
    index in its ReadState is applied. Keep a deadline of your own as well.
 8. Snapshots out. For an InstallSnapshot in `messages`: export the state at the current applied index, replace the
    message's metadata by that index's, transfer the file, then the message. Always end with `report_snapshot`.
 9. Snapshots in. Step the InstallSnapshot only once its file is received and verified; keep the file until a Ready
    installs it, or a later one.
10. Compaction. Drop entries only up to an index whose applied state is durable, and keep some for slow followers.
11. Local faults. `step_down` if the disk, the state machine or the driver is stuck for an election timeout.
12. Delivery faults. `report_unreachable` when a connection breaks, so that the leader probes instead of pipelining.

Messages (`messages`): sender, receiver, modules
  RequestVote        candidate, pre-candidate    all nodes    `election`
  VoteReply          all nodes                   candidates   `election`
  TimeoutNow         leader (transfer)           follower     `election`
  AppendEntries      leader                      follower     `replication` sends, `follower` handles
  AppendReply        follower                    leader       `follower` sends, `leader` handles
  Heartbeat          leader                      follower     `replication` sends, `follower` handles
  HeartbeatReply     follower                    leader       `follower` sends, `leader` handles
  InstallSnapshot    leader                      follower     `replication` sends, `follower` handles
  ReadIndexRequest   follower                    leader       `follower` sends, `leader` handles
  ReadIndexReply     leader                      follower     `leader` sends, `follower` handles

Modules, from the outside in (the layers of import-linter)
  node                                the API: events in, Ready out
  status, term_gate, proposals        read-only view; terms, BEFORE any handler; what a driver may ask of a leader
  membership_change, follower         rules: changes of the configuration; the follower's handlers
  leader                              rules: acknowledgements, commit, reads, check-quorum, transfer
  election, replication, validation   rules: votes and roles; what the leader sends; what no correct peer sends
  state                               everything that the rules modify
  log, tracker                        parts of the state: the log; progress, quorums, read rounds
  writes                              what the driver has taken and not yet made durable
  configuration, ready, settings, log_reader, messages   vocabulary
These are 18 modules of one algorithm, and are read together; so only the leader's progress tracking is a subpackage.

Invariants beyond Figure 3 of the paper; each is stated at the code that keeps it
- Votes, a candidate's vote requests and acknowledgements are sent only AFTER the state they depend on is durable.
- The leader counts its own log only up to its last sync. Entries are applied AFTER they are written here, which may be
  before their sync: a quorum holds them durably.
- A configuration takes effect when applied. At most one change is uncommitted in any log, no node campaigns with a
  committed change unapplied, and every change of voters passes a joint configuration that is left automatically.
- A node in a leader's lease ignores vote requests, unless the leader requested the campaign.
- Reads are confirmed by heartbeats sent after the request, in a term that has committed an entry.
- All leader state (progress, reads, transfer, counters) is one object and ends with the leadership.
"""
