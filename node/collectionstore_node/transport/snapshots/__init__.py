"""Resumable transfer of one snapshot file over a connection of its own."""
