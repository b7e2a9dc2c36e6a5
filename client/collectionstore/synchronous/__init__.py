# Generated from ../asynchronous by client/generate_sync.py: change it there.
"""The client for programs without an event loop, generated from `asynchronous`.

A handle of a collection is made of parts, one subject in each of these modules.
"""
