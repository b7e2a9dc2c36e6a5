"""The handlers, one module per resource: parse a request, call the store, render its answer.

- `documents.py` `kv.py` `catalog.py` `transactions.py` `commits.py`  data; `transaction_bodies.py`, with `guards.py`,
  `targets.py` and `commit_bodies.py`, parse transactions and the ends of interactive ones
- `tickets.py`  writes that are answered early, and their fate
- `changes.py` `found_changes.py` `bulk.py`  updates of a document, of what a filter finds, and many writes at once
- `queries.py` `backup.py`  what filters find, and the whole state
- `direct.py`  reads and writes of one target, in two halves, for documents and raw values
- `watches.py` `watch_answers.py`  changes as they come, and the responses without an end that tell them
- `consumers.py`  named consumers of changes
- `cluster.py` `debug.py` `probes.py`  the cluster, diagnostics, probes
- `write_answers.py` `read_answers.py`  how outcomes, values and pages become answers

Twenty-four modules in one room: one for each subject of the URL table, which answer alike.
"""
