"""What a cluster does with more writes than it can take: `python -m collectionstore_bench.overload`.

- `experiment.py`  the rows: the peak, 5,000 writes per second, a multiple of the peak; their bounds
- `options.py`     the command line
- `generator.py`   the generator, a program in Go: built, started and read
- `plan.py`        what it is told and what it tells, as JSON
"""
