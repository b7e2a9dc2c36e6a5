"""What a cluster does with more writes than it can take: `python -m collectionstore_bench.overload`.

- `experiment.py`  the rows: the peak, 5,000 writes per second, a multiple of the peak; their bounds
- `options.py`     the command line
- `generators.py`  generator processes: started, fed, and their results put together
- `generator.py`   one generator process: an open loop over many connections
- `plan.py`        what a generator is told and what it tells, as JSON
- `arrivals.py`    when requests are due, and quantiles of what they took. Pure
"""
