"""The client for programs with an event loop. `synchronous` is generated from it: `client/generate_sync.py`.

A handle of a collection is made of parts, one subject in each of these modules.
"""
