"""How far one cluster goes: members, sizes of values, documents, connections: `python -m collectionstore_bench.scale`.

- `options.py`      the command line
- `parts.py`        the parts by name, and what a part measures: figures
- `members.py`      1, 3, 5 and 7 members
- `values.py`       values to 1 MB
- `documents.py`    10,000 documents to 10 million: load, point read, listing, restart, snapshot, memory
- `connections.py`  10,000 idle connections
- `groups/`         what several Raft groups would bring, simulated
"""
