"""Processes in place of pods: members, their ports, and the supervisor."""
