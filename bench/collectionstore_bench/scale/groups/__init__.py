"""What several Raft groups per cluster would bring, simulated: `python -m collectionstore_bench.scale.groups`.

- `__main__.py`    the command: a table, and a picture
- `study.py`       the runs: each number of groups on each number of nodes
- `simulation.py`  writes through leaders, followers, disks and cores. Pure and deterministic
- `cores.py`       processes that share the cores of a node, and its disk. Pure
- `engine.py`      events in the order of their times. Pure
- `picture.py`     the picture, as SVG

Nothing of it is built into the node: it has one group. The service times come from `bench/README.md`, by
`python -m collectionstore_bench.load` and `.account`.
"""
