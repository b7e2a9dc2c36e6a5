"""The supervisor: the reconcile loop of a local cluster, in a background process."""
