"""A storage node of Collection Store: Raft over mutual TLS into RocksDB, served over HTTP.

Layers, each importing only those to its right (checked by import-linter):
`__main__` -> `app` -> `api` -> `replica` -> `storage` | `transport` -> `logs` | `metrics` | `settings` ->
`raft` | `statemachine` -> `errors`. `raft` and `statemachine` are pure: values in, values out.
"""

from importlib.metadata import version

__version__ = version("collectionstore-node")
