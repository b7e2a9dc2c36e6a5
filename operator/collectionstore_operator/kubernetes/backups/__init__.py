"""Backups and schedules on Kubernetes: one loop for each resource that has something to do.

- `loops.py`      which loops run, how they are woken, and that they end
- `rounds.py`     one round: read, assess, publish, act; the same for both kinds
- `backup.py`     a CollectionStoreBackup
- `schedule.py`   a CollectionStoreBackupSchedule
- `executor.py`   the actions
- `jobs.py` `archives.py` `clusters_seen.py`   what is observed

Nothing is remembered between rounds that a restart would lose: names are derived, ends are in the status.
"""
