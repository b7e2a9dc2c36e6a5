"""Faults of a local cluster: partitions and bad links through a proxy, pauses and kills by signal."""
