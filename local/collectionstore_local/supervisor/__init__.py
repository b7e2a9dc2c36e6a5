"""The reconcile loop of a local cluster."""
