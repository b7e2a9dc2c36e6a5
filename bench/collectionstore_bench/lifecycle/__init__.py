"""Joins, failovers and restarts against stated bounds: `python -m collectionstore_bench.lifecycle`."""
