"""Network partitions and process faults between the members of a local cluster."""
