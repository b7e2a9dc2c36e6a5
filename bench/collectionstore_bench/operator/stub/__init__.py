"""Stands for machines and members: pods that run at once, volumes that bind at once, members that answer the operator.

- `kubelet.py`  binds claims, runs and ends pods
- `members.py`  what the members of one cluster answer: status, bootstrap, membership changes, leadership
- `server.py`   their addresses and certificates: one listener per pod, on the pod's own loopback address

There is no data and no replication: a member has what its leader has, at once. Certificates are made from the
authority in the cluster's Secret and not by a request, so signing is not part of what is measured.
"""
