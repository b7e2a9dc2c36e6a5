"""What a member reports on request: `/status`, `/debug/raft`, gauges."""
