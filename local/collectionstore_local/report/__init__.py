"""`csctl report`: everything about one cluster that a bug report needs, redacted, in one archive.

- `cli.py`         the commands `csctl report` and `csctl log-level`
- `items.py`       what is gathered: an item is a path in the archive and a way to get its bytes
- `on_machine.py`  the items of a local cluster; `on_kubernetes.py` those of one on Kubernetes
- `pages.py`       the pages of members, over HTTP
- `gathering.py`   gets all items, a few at a time, each for so long; what cannot be had is written down with why
- `redaction.py`   takes secrets out of JSON and text; pure
- `archive.py`     the .tar.gz with its manifest
- `levels.py`      the log level of the processes of a local cluster

Invariants: nothing is read that holds documents or private keys, except to know what must not be in the archive; what
is read goes through the redaction; Secrets of Kubernetes are not read.
"""
