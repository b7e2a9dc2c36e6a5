"""What the replica reports while it works: one observer for traces, slow log and metrics."""
