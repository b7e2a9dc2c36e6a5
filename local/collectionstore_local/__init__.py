"""Run a CollectionStoreCluster as processes of one machine, with the planner of the operator."""
