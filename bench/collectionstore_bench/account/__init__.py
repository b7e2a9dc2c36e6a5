"""A cost account of a write and a read, in microseconds per stage: `python -m collectionstore_bench.account`.

`stages` says which stage a stack belongs to and holds the list of rooms, `samples` reads what the profiler wrote,
`measure` loads and profiles a cluster, `table` prints, `__main__` is the command.
"""
