"""The Raft core with everything that waits for it: commands, reads, conditions. No disk sync, no network."""
