"""Clients that use a cluster through its Service all the time, and the judgement on what they were told.

pod -> recorded -> program. `program` runs in a pod of the cluster, from the node's own image; the others run here.
"""
