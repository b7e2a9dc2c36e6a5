"""The Raft algorithm as a pure core: events in, one `Ready` of effects out. No clock, no chance, no disk, no network.

What it does: election with pre-vote and check-quorum, replication with windows and fast backtracking, snapshots,
linearizable reads without log entries (ReadIndex), learners, membership changes through joint consensus, leadership
transfer. Sources: Ongaro and Ousterhout 2014 ("Raft"), Ongaro 2014 ("thesis"), etcd-io/raft for the shape.

A driver's duties
 1. Open. Make durable whatever the disk shows (sync once): the core takes all of it for durable. Build `RaftNode` from
    the hard state, the log, and the configuration and applied index of the state machine. A new cluster's first node
    stores one entry (index 1, term 1, a CHANGE that adds itself as voter) and HardState(term=1, vote=0, commit=1)
    first. Any other new node starts empty and waits for a leader.
 2. Time. Call `tick` at a steady rate. A pause longer than an election timeout is a fault like any other.
 3. Messages in. Authenticate the sender, then `step`. `MessageRejected` means: count it, log it, drop it; nothing has
    changed. Anything `Fatal` means: stop the process.
 4. Ready. While `has_ready`: take `ready` and do, in this order: send `messages`; install `snapshot`; store `entries`
    and `hard_state` in one batch; sync if `must_sync`; send `messages_after_append`; apply `committed` in order,
    calling `apply_change` for every CHANGE entry in its place and storing the returned configuration together with the
    applied index; call `advance`; answer `read_states` whose index is applied, fail `failed_reads`. Between `ready` and
    `advance` keep stepping, ticking and proposing; never hold two Ready.
 5. Proposals. `propose` returns (index, term). The proposal succeeded if the entry committed at that index has that
    term, and was lost if it has another one. If leadership ends before either is seen, the outcome is unknown.
 6. Membership. `propose_change` returns at once. The change is complete when the configuration is not joint and
    `status().pending_change_index` is applied: only then switch off nodes that left. A node id is never used again
    after its removal, and never outlives its disk.
 7. Reads. `read_index(request_id)` on any node, with ids that are unique while they wait. Serve the read when the index
    in its ReadState is applied. Keep an own deadline as well.
 8. Snapshots out. For an InstallSnapshot in `messages`: export the state at the present applied index, replace the
    message's metadata by that index's, move the bytes, then the message. Always end with `report_snapshot`.
 9. Snapshots in. Step the InstallSnapshot only when its bytes are here and verified; keep them until a Ready asks to
    install them, or a later one does.
10. Compaction. Drop entries only up to an index whose applied state is durable, and keep a tail for slow followers.
11. Own problems. `step_down` when the disk, the state machine or the driver itself is stuck for an election timeout.
12. Delivery problems. `report_unreachable` when a connection breaks, so that the leader probes instead of streaming.

Messages (`messages`): who sends, who handles
  RequestVote        candidate, pre-candidate    everyone     `election`
  VoteReply          everyone                    candidates   `election`
  TimeoutNow         leader handing over         follower     `election`
  AppendEntries      leader                      follower     `replication` sends, `follower` handles
  AppendReply        follower                    leader       `follower` sends, `leader` handles
  Heartbeat          leader                      follower     `replication` sends, `follower` handles
  HeartbeatReply     follower                    leader       `follower` sends, `leader` handles
  InstallSnapshot    leader                      follower     `replication` sends, `follower` handles
  ReadIndexRequest   follower                    leader       `follower` sends, `leader` handles
  ReadIndexReply     leader                      follower     `leader` sends, `follower` handles

Modules, from the outside in: `node` is the entrance and the gate of terms; `validation` rejects what no correct peer
sends; `changes`, `leader`, `replication`, `follower`, `election` are the rules; `state` is everything they change;
`log`, `progress`, `read_index`, `membership`, `quorum` are its parts; `messages`, `ready`, `reader`, `settings` are the
vocabulary. `memory_log` is the double of the storage adapter.

Invariants, besides Figure 3 of the paper; each is stated where it is kept
- Votes, a candidate's requests and acknowledgements leave only after what they rest on is durable here.
- The leader counts itself only for what it has synced; entries are applied only when they are durable here.
- A configuration is active when applied. At most one change is uncommitted in any log, nobody campaigns with a
  committed change unapplied, and every change of voters passes a joint configuration that ends by itself.
- Vote requests are ignored by whoever hears a leader, unless the leader ordered the campaign.
- Reads are confirmed by heartbeats that were sent after they were asked, in a term that has committed an entry.
- What belongs to one leadership (progress, reads, transfer, counters) is one object and ends with it.
"""
