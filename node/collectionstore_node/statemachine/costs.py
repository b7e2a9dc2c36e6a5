"""What a command and an entry may cost every replica, from level `BOUNDED` on. Evaluated alike on all of them.

Costs are those of what a command READS of the state: `Overlay.cost` counts the bytes, once more for every get that
answers them. What a command writes is in the entry already, but for the entries of indexes that follow from it, which
are counted. The bounds hold by refusing BEFORE the work is done; a bound is exceeded by one record at most, because the
size of a record is known only once it is read.

None of this depends on settings, caches, or on how entries are grouped: replicas with other bounds would diverge.
Changing one needs a new feature level (`levels`).
"""

from __future__ import annotations

from typing import Final

READ_COST_BYTES: Final = 1 << 10
"""What a read costs besides the bytes of its value: finding the key costs about as much as copying so many bytes."""

TRANSACTION_ITEMS_MAX: Final = 128
"""Entries in each of `compare`, `then` and `otherwise`."""

TRANSACTION_READ_BYTES_MAX: Final = 4 << 20
"""Sum of the values that the gets of a transaction answer, each get counted; one larger value is answered alone."""

TRANSACTION_WRITE_BYTES_MAX: Final = 4 << 20
"""Sum of the values that a branch writes; one larger value is written alone."""

TRANSACTION_COST_MAX: Final = 32 << 20
"""Sum of the records that a transaction compares, reads, replaces or deletes, each counted once."""

ENTRY_COST_MAX: Final = 16 << 20
"""No command of an entry begins beyond this cost; the leader proposes the rest again, in another entry. The last one
may exceed it by TRANSACTION_COST_MAX, TRANSACTION_READ_BYTES_MAX and one record: that bounds what an entry costs."""

UPDATE_BYTES_MAX: Final = 256 << 10
"""The text of an update in operators or of a patch; a document that replaces another one has its own bound."""

UPDATE_VALUES_MAX: Final = 20_000
"""Values in that text, and in each filter: they are looked at one by one when the update is parsed."""

FILTER_BYTES_MAX: Final = 64 << 10
"""The text of the filter of an update, and of its array filters."""

PARSE_COST: Final = 4
"""What parsing an update costs, by byte: building checked operators takes longer than decoding their text."""

TRANSACTION_PATTERNS_MAX: Final = 32
"""Regular expressions of all updates of a transaction."""

PATTERN_COST_BYTES: Final = 128 << 10
"""What compiling a regular expression of an update costs; a third of a millisecond."""

UPDATE_STEP_COST_BYTES: Final = 256
"""What a step of an update costs (`documents.updates.budget`): about a quarter of a read."""
INDEX_ENTRY_COST_BYTES: Final = 512
"""What it costs to make, keep or remove an entry of an index."""
INDEX_VALUE_COST_BYTES: Final = 256
"""What it costs to look at a value for that, beside those at the paths of the index."""

BUILD_DOCUMENTS: Final = 128
BUILD_BYTES: Final = 256 << 10
BUILD_ENTRIES: Final = 2 << 10
"""A step of a build ends with the document that reaches one of these: documents, their bytes, entries."""

EXPIRE_ITEMS: Final = 128
EXPIRE_COST: Final = 2 << 20
"""A step of expiry ends with the record that reaches one of these: records, and what reading and removing them cost."""
LEASES_MAX: Final = 10_000
"""Leases of a store, those that have ended and are not removed yet among them."""
LEASE_RECORDS_MAX: Final = 10_000
"""Records that are attached to a lease."""
TTL_MIN_MS: Final = 1_000
TTL_MAX_MS: Final = 10 * 365 * 24 * 60 * 60 * 1000
"""The shortest and the longest life of a record or a lease; far from where a time in 64 bits overflows."""
SCHEMA_STEPS_MAX: Final = 2_000_000
"""Steps that checking one document against the schema of its collection may take at most (`schemas.costs`)."""
SCHEMA_STEP_COST_BYTES: Final = 16
"""What one of them costs: a keyword that is evaluated, 10 to 80 ns."""
SCHEMA_DEPTH_MAX: Final = 100
"""How deep a document may be nested that is checked; the document itself counts as 1."""
SCHEMA_CHECK_COST_BYTES: Final = 4 << 20
"""What checking and compiling a schema costs; up to a tenth of a second."""
SCHEMA_USE_COST: Final = 16
"""What it costs, by byte, to use it in an entry: it may have to be compiled again."""
SEQUENCE_TRIES_MAX: Final = 64
"""Numbers that one insert passes because documents have them."""
TRANSACTION_QUERIES_MAX: Final = 16
"""Queries of a transaction."""
QUERY_RANGES_MAX: Final = 1_000
"""Ranges of a plan."""
QUERY_SEEN_MAX: Final = 1_000
"""Documents that the queries of a transaction may have seen, together."""
CHANGE_COST_BYTES: Final = 768
"""What it costs to look at a change of the history, besides its records."""
