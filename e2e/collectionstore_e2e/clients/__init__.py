"""Clients that use a cluster through its Service throughout a scenario, and the check of their history.

pod -> recorded -> program. `program` runs in a pod of the cluster, from the node's own image; the others run here.
"""
