"""The state machine: the meaning of the log. Pure: bytes and values in, writes and outcomes out.

Data model
- A *document* is the compact JSON text of an object, identified by a collection and a document ID. Collections are
  created and dropped by name. The internal ID of a collection is the revision of its creation, so a drop is one key
  range, and a collection that is created again under the same name starts empty whatever is still on disk.
- An *index* has an entry for each combination of values of its fields in a document. In a unique one the key of an
  entry ends with the fields. Entries are part of the state as documents are: of its digest, of snapshots and backups.
- A *raw value* is bytes with a content type, identified by a bucket and a key. Buckets need no creation.
- The *idempotency table* stores the outcomes of requests with an idempotency key, for 24 hours unless it is full.
- The *history* stores what was changed in the last hours, with the records before and behind each change; `history`.
- *Users*, *roles*, *tokens* and the *access configuration* say who may do what. Of a token the state has the SHA-256
  of its secret, of a password its argon2id hash; `access`.
- The *membership record* stores name and addresses of the members, and the node IDs that must not return.

Key layout. The first byte is the family; numbers are 8 bytes, big-endian; texts are UTF-8, whose byte order is the
order of code points. The last text of a key is written unescaped. A text that is followed by another part is escaped
(00 becomes 00 FF) and terminated by 00 01, so that "a" and all its keys sort before "a\\0" and no name is a prefix of
another.

    family            rest of the key                    value
    01 meta           "header"                           revision, time, ends of the expiry queue, digest
    01 meta           "membership"                       membership record
    01 meta           "history"                          segments of the history
    01 meta           "token"                            key of the cursors and tokens that members sign
    01 meta           "rights"                           access configuration, numbers of users, roles and tokens
    02 catalog        collection name                    collection ID
    03 documents      collection ID, document ID         stored record
    04 raw values     bucket (escaped), key              stored record
    05 idempotency    idempotency key                    fingerprint, outcome
    06 queue          sequence number                    time, size and key of an idempotency record
    07 indexes        collection ID                      definitions and states of its indexes
    08 index entries  collection ID, index ID, keys of   shape of the entry, ID of the document
                      the fields, ID of the document
    09 statistics     collection ID, index ID            what is counted of an index
    0a builds         collection ID                      name of a collection with an index that is being built
    0b options        collection ID                      options, and when they were changed
    0c expiry         00                                 what is counted of the queues, and where they begin
    0c expiry         01, deadline, key of a record      document or raw value that expires then
    0c expiry         02, deadline, lease ID             empty
    0d leases         01, lease ID                       lease
    0d leases         02, lease ID, key of a record      document or raw value that is attached
    0e history        last revision of an entry          time and changes of the entry
    0f consumers      name of a consumer                 what it asks for, and its position
    11 sequences      collection ID                      the last number that a document was given
    13 users          name of a user                     its roles, and the hash of its password
    14 roles          name of a role                     its rules
    15 tokens         01, ID of a token                  its user, the digest of its secret, when it expires
    15 tokens         02, name of a user (escaped),      empty
                      ID of a token
    16 usage          01, collection ID                  what the documents of a collection with a quota take
    16 usage          02, collection ID                  name of such a collection while they are being counted

Revision
- One number for the whole store: the number of applied commands. Every command takes the next one, also one that fails
  or is a replay; membership changes and no-ops take none.
- It is stored in the header, in the same batch as the effects of the command, so it cannot drift from them. It does not
  depend on how commands were grouped into log entries.
- A stored record contains the revision of its last write and of its creation. A transaction is one command: all its
  writes have the same revision.

Digest
- The header also contains a rolling hash of every change of the state, by which members compare their state at low
  cost; see `digest`.

Invariants
- Deterministic: the same batches in the same order produce the same bytes on every replica. Nothing reads a clock, a
  random number, the iteration order of a set, or anything else outside of the view. Limits that decide what is stored
  (`dedupe`) are part of that; replicas with different limits would diverge.
- A committed batch raises no exception, unless it is not a batch at all: an invalid command has an outcome that says
  so, because an exception would stop every replica at the same entry, forever.

Modules, from the outside in: `apply` is the meaning of `commands`, with `commits` (transactions that depend on queries,
or on what a client has read), `searching`, `transactions`, `updates`, `index_commands`, `usage_commands`,
`configuring`, `consumers`, `access_changes` (with `access_commands`, `access_checks` and `lockout`), `expiry_commands`,
`dedupe`, `conforming`, `indexing`, `metering`, `history`, `expiry_queue`, `leases`, `catalog` and `writing`; `members`
applies membership changes; `reads` serves clients; `past` undoes what was changed; `digest` and `header` close every
entry; `tokens` has the key of what is signed; `view` is the port to storage; `access`, `options`, `ttl`, `keys`,
`stored`, `index_catalog`, `usage` and `codec` are the layout.

Thirty-nine modules in one room: apply, its bounds, what it stores and what may be proposed change together, under one
feature level.
"""
