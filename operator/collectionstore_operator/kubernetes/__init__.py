"""The runtime on Kubernetes: the loop's actions on StatefulSets, pods, volumes and Secrets. It decides nothing.

- `pods.py`       PURE: a pod of the API as the planner sees it, with what is wrong with it
- `claims.py`     PURE: a PersistentVolumeClaim as a volume, with what is recorded on it
- `requests.py`   PURE: a CertificateSigningRequest as the planner sees it
- `record.py`     the ConfigMap with what must never be forgotten
- `authority.py`  the Secrets with the keys, the operator's own connection to the members, signing
- `disks.py`      marks volumes, and takes them away
- `children.py`   the StatefulSet and the other objects of a cluster
- `runtime.py`    `ClusterRuntime`: reconcile.Runtime on all of these
- `clusters.py`   one loop per resource: which run, when they were last round
"""
