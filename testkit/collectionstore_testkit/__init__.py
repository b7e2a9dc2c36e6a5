"""What tests and programs of this repository share: clusters, histories, faults and tool binaries."""
