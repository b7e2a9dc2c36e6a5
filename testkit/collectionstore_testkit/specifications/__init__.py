"""MongoDB's unified specification tests through a thin adapter over the Python client.

The tests are read from a checkout of mongodb/specifications and are not part of this repository: their licence,
CC BY-NC-SA 3.0, does not go with ours.
"""
