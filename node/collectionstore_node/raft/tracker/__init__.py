"""What a leader tracks: each follower's replication progress, majorities over it, and the rounds that confirm reads.

`progress` is one follower's state machine, `quorum` the majority rules, simple and joint, `read_index` the ReadIndex
bookkeeping. None of them knows a role, a term or the log. Source of the cut: etcd-io/raft `tracker` and `quorum`.
"""
