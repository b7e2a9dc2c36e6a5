"""The client for programs with an event loop. `synchronous` is generated from it: `client/generate_sync.py`."""
