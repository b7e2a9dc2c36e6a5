"""Clients that use a cluster, record every operation, and run in a pod or beside the test."""
