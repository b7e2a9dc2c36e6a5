"""Writes and reads per second, and their latency: `python -m collectionstore_bench.load`."""
