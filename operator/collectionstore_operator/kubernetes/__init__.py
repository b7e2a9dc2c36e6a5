"""The loop's runtime on Kubernetes: observes and changes StatefulSets, pods, volumes and Secrets. It decides nothing.

- `handlers.py`              kopf: daemons, and watches that only wake them
- `clusters.py`              one loop per resource: which run, and when each last finished a round
- `runtime.py`               `ClusterRuntime`: `reconcile.loop.Runtime` on the next three
- `cluster_access.py`        what observer and executor share: API server, nodes, resource, record, keys
- `custom_resource.py`       the resource: spec, status, finalizers, Events
- `observer.py`              every read of a round, as one `Observed`; writes nothing
- `executor.py`              every action, as one case; refused without the Lease
- `record.py`                the ConfigMap with the facts that must survive the resource
- `enrolment.py`             which pods may request certificates
- `by_name.py`               pods and claims that lost their labels, and those of others under our names
- `trust.py`                 PURE: whether the stored authority is the one that the members trust
- `authority.py`             the Secrets with the keys, the operator's TLS context, signing
- `volumes.py`               actions on PersistentVolumeClaims
- `children.py`              the StatefulSet and the other objects of a cluster
- `pod_diagnostics.py`       lost machines, StorageClasses, failed pod creations, the namespace
- `pods.py`                  PURE: a pod as the planner sees it, and why it does not run
- `claims.py`                PURE: a PersistentVolumeClaim as a volume, with its stamps
- `mounts.py`                which pods mount released claims that are due
- `ownership.py`             PURE: whose an object is
- `listing.py`               lists of all resources, so that they are found without the watch
- `certificate_requests.py`  PURE: a CertificateSigningRequest as the planner sees it
- `api/`                     calls to the API server

More modules than elsewhere: each knows one kind of object, and a room below would hold one or two of them.
"""
