"""Backups of a local cluster as resources, as `collectionstore_operator.kubernetes.backups` has them on Kubernetes.

- `program.py`   how `collectionstore-backup` reaches a cluster of this machine
- `work.py`      the command and the variables of one task
- `run_records.py` what is kept of a run; `runs.py` the processes in place of Jobs
- `rounds.py`    read, assess, publish, act: the decisions are the operator's
- `loop.py`      when a round is due
"""
