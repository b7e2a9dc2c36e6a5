"""Faults for local clusters: links between members, disks of members, and the preloaded shim for system calls."""
