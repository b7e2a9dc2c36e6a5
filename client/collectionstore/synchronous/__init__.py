# Generated from ../asynchronous by client/generate_sync.py: change it there.
"""The client for programs without an event loop, generated from `asynchronous`."""
