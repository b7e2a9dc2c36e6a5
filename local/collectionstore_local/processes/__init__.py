"""The processes of a local cluster: nodes in place of pods, their ports and probes, and the start of a supervisor."""
