"""Caches of what the API server stores, kept by watches, and the reads of one cluster's rounds through them. ADR 16.

- `watched.py`   PURE: which kinds are watched, by which labels, what is kept of them, and whose loop they wake
- `store.py`     PURE: the objects of one watch, as compact JSON, up to the version that was received last
- `events.py`    PURE: the lines of a watch, as events
- `reflector.py` list, then watch, for ever: keeps one store, and knows whether it may be relied on
- `caches.py`    `Caches`: all reflectors of this process
- `reads.py`     `Reads`: one cluster's reads, from the newest state or from caches that are not behind it

Invariants:
- a store that never was complete, or whose watch has been broken or silent for too long, answers nothing: its reads go
  to the API server;
- a name that a cache does not have is looked up at the API server: only that proves that there is no such object;
- a cache that is behind what the cluster's loop has read or written itself is not used for that cluster.
"""
