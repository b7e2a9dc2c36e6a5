"""Log writes and syncs, applying committed entries, compaction of the log."""
