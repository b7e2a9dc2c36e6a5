"""The operator with many clusters: the time of rounds, calls to the API server, memory, processor time, start-up.

- `control_plane.py`  a real API server, etcd and the StatefulSet controller, as local processes without machines
- `api.py`            calls to that API server
- `stub/`             a process that stands for kubelets, volumes and members
- `fleet.py`          the clusters: create them, wait until they are ready, change them
- `contender.py`      one operator process: start it, read its debug page, measure a window
- `audit.py`          PURE: what the audit log says of its calls
- `figures.py`        PURE: percentiles, and what is printed and kept
"""
