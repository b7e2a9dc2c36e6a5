"""What the storage and the memory of a node are made of: RocksDB's options one by one, and the resident memory."""
