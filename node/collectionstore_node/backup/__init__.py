"""Backups of a cluster, as a program of its own: `collectionstore-backup`. docs/operate/backup.md is its manual.

It reads the state of a member over HTTP, compresses and encrypts it in its own process, and stores it in a repository:
S3, Google Cloud Storage, Azure Blob Storage or a directory. docs/reference/backup-format.md describes what is stored.

- `cli.py`         the commands; `options.py` what they share; `program.py` runs one in time, `output.py` prints
- `create.py`      reads a member and writes a backup; `restore.py` makes a data directory of one; `verify.py` reads one
- `archive.py`     follows the log of a cluster into segments; `replay.py` applies them to a restored state
- `source.py`      the cluster, over HTTP; `repository.py` the object store; `stored.py` the backups in it
- `selection.py`   which member is read, which backup is restored; `retention.py` which backups go. Pure
- `pacing.py`, `yielding.py`, `priority.py`   how it leaves a member, and processors, to clients
- `manifest.py`, `segments.py`, `parts.py`, `sealing.py`   what is stored, byte for byte. Pure

Large for a room, because it is a whole program: six of its modules are pure, and each of the others is one run or one
edge. `program.py` and `output.py` have no second user.

Invariants:
- the manifest is written last, when every part was read back: what has none is no backup;
- nothing is restored over data, and a data directory is complete or refused by the node;
- no failure is an exit code of 0, and no secret or document is in a message.
"""
