"""The state machine: what the log means. Pure: bytes and values in, writes and outcomes out.

Data model
- A *document* is the compact JSON text of an object, named by a collection and an id. A collection is created and
  dropped by name. Its internal id is the revision of its creation, so a drop is one key range, and a collection
  created again under the same name starts empty whatever is still on disk.
- A *raw value* is bytes with a content type, named by a bucket and a key. Buckets exist by being used.
- The *idempotency table* remembers the outcomes of requests that carried a key, at least 24 hours unless it is full.
- The *membership record* is the directory of the cluster's members, with the ids that may never come back.

Key layout. The first byte is the family; numbers are 8 bytes, big-endian; texts are UTF-8, whose byte order is the
order of code points. The last text of a key is written as it is. A text that something follows is escaped (00 becomes
00 FF) and ended by 00 01, so that "a" and all its keys sort before "a\\0" and no name is a prefix of another.

    family            rest of the key                    value
    01 meta           "header"                           revision, time, bounds of the idempotency queue, digest
    01 meta           "membership"                       membership record
    02 catalog        collection name                    collection id
    03 documents      collection id, document id         stored record
    04 raw values     bucket (escaped), key              stored record
    05 idempotency    idempotency key                    fingerprint, outcome
    06 queue          sequence number                    time, size and key of an idempotency record

Revision
- One number for the whole store: how many commands were applied. Every command takes the next one, also one that
  fails or is a replay; membership changes and empty entries take none.
- It is kept in the header, in the same write as the command's effects, so it cannot drift from them. It does not
  depend on how commands were grouped into log entries.
- A stored record carries the revision of its last write and of its creation. A transaction is one command: all its
  writes carry the same revision.

Digest
- The header also holds a rolling hash of everything that was ever done to the state, so that members can tell cheaply
  whether they hold the same; see `digest`.

Invariants
- The same batches in the same order give the same bytes on every replica: nothing reads a clock, a random number,
  an iteration order of a set, or anything else outside the view. Limits that decide what is stored (`dedupe`) are
  part of that; replicas with different limits would part.
- Nothing a committed batch contains raises, unless it is not a batch at all: a command that makes no sense has an
  outcome that says so, because an exception would stop every replica at the same entry, for ever.

`commands` is the language of the log and `apply` its meaning, of which `transactions`, `writing`, `catalog`, `dedupe`
and `members` are parts; `reads` is what clients may ask; `view` is the port to storage and `memory` its double;
`keys`, `stored`, `header` and `codec` are the layout; `digest` is the hash of all that was done.
"""
