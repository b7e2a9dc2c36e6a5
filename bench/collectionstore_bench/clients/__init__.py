"""The Python client beside the raw stream: throughput, processor time of an operation, and balance over members."""
