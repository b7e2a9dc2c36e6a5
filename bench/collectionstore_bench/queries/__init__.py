"""Queries by an index and by a scan, in the same run; the scan beside SQLite; writes with and without indexes."""
