"""Users and roles on Kubernetes: one loop for each resource, in the loops of what is beside clusters.

- `rounds.py`       one round: read, assess, publish, act; the same for both kinds
- `user.py` `role.py`   what is read of them
- `executor.py`     the actions
- `credential_secrets.py`   the Secrets of users
- `connections.py`  how a cluster is reached with the operator's certificate

Nothing is remembered between rounds that a restart would lose: the Secret says which credential is in use, the cluster
which there are.
"""
