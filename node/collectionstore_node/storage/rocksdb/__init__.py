"""RocksDB behind the `rocksdict` binding: opening and recovery, column families, options.

`rocks` opens the database, writes batches and syncs the WAL; `family` reads a column family; `tuning` holds every
option that differs from RocksDB's default, with its reason. Nothing here knows what a log entry or a document is.
"""
