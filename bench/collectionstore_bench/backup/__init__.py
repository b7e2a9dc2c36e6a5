"""What a backup costs clients, how fast it is, how long a restore takes: `python -m collectionstore_bench.backup`."""
