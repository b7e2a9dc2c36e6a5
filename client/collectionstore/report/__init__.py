"""`csctl report`: what a bug report about one cluster needs, redacted, in one archive.

- `command.py`           the command
- `items.py`             an item is a path in the archive and a function that returns its content
- `kubernetes_items.py`  the items of a cluster on Kubernetes
- `local_plugin.py`      finds the items of a local cluster: the package collectionstore-local provides them
- `pages.py`             the HTTP pages of members and of the operator
- `gather.py`            reads all items, a few at a time, each with a timeout
- `redaction.py`         removes secrets from JSON and text; pure
- `archive.py`           the .tar.gz with its manifest

Invariants: documents and the keys of documents are not read; private keys are read only to remove their lines from the
archive; everything in the archive was redacted; Kubernetes Secrets are not requested.
"""
