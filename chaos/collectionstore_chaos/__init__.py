"""Injects random faults into a local cluster and checks its clients' history: `python -m collectionstore_chaos`."""
