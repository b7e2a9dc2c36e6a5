"""Mutual TLS between members: the port, and contexts from reloadable files."""
