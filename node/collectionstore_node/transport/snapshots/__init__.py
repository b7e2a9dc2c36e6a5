"""Resumable transfer of one snapshot file over a separate connection."""
