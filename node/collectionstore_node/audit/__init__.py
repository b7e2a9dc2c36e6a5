"""The audit log of a member: who did what, from where, with which outcome, in records that are chained by hash.

Pure:
- `events.py`    what is recorded of one request, and its canonical JSON
- `chain.py`     records as sealed lines, each with the hash of the one before it
- `rules.py`     which requests are recorded, and of which the content
- `settings.py`  what the environment says

At the edge:
- `sinks.py`     what a sink is; `files.py`, `webhook.py` and `otlp.py` are those that there are
- `feeder.py`    feeds one sink from a bounded queue, with retries
- `auditor.py`   all of it, as the API uses it; `opening.py` makes it from the settings

Each sink has a chain of its own: one that fails, and drops records, leaves the others whole. `csctl audit verify` (the
package `collectionstore`, `audit/verification.py`) checks what is written here; tests/test_audit_chain.py holds the two
together. docs/reference/audit.md has the format, ADR 37 the reasons.
"""

from __future__ import annotations

from collectionstore_node.audit.auditor import UNRECORDED, Auditor, SinkState, Taken, Unavailable
from collectionstore_node.audit.events import CONTENT_MAX, Event, cut
from collectionstore_node.audit.rules import REFUSED

__all__ = ["CONTENT_MAX", "REFUSED", "UNRECORDED", "Auditor", "Event", "SinkState", "Taken", "Unavailable", "cut"]
