"""The roles that every store has. They cannot be changed, and no role has their names."""

from __future__ import annotations

from typing import Final

from collectionstore_node.access.roles import EVERY_NAME, EVERY_VERB, Role, Rule
from collectionstore_node.access.verbs import Verb

OPERATOR: Final = "operator"
"""Role of the operator's certificate. Whoever has it by a credential is not bound by the record of a user."""
ADMIN: Final = "admin"

_ALL: Final = (EVERY_NAME,)
_READ: Final = (Verb.READ.value, Verb.WATCH.value)
_WRITE: Final = (Verb.WRITE.value, Verb.CREATE.value, Verb.INDEX.value, Verb.TRANSACT.value)

BUILT_IN: Final[dict[str, Role]] = {
    "reader": Role(
        (Rule(verbs=_READ, collections=_ALL, buckets=_ALL, cluster=True),),
        description="Reads and watches everything that is stored.",
    ),
    "writer": Role(
        (Rule(verbs=_READ + _WRITE, collections=_ALL, buckets=_ALL, cluster=True),),
        description="Reads and writes everything that is stored, and creates collections and indexes.",
    ),
    ADMIN: Role(
        (Rule(verbs=(EVERY_VERB,), collections=_ALL, buckets=_ALL, cluster=True),),
        description="Does everything.",
    ),
    "backup": Role(
        (
            Rule(verbs=(Verb.BACKUP.value,), collections=_ALL, cluster=True),
            Rule(verbs=(Verb.MONITOR.value,), cluster=True),
        ),
        description="Reads the whole state and the log for backups, and exports collections.",
    ),
    "monitor": Role(
        (Rule(verbs=(Verb.MONITOR.value,), cluster=True),),
        description="Reads metrics, status and diagnostics.",
    ),
    OPERATOR: Role(
        (
            Rule(
                verbs=(Verb.READ.value, Verb.ADMIN.value, Verb.BACKUP.value, Verb.MONITOR.value),
                cluster=True,
            ),
        ),
        description="Changes members and access control, and takes backups. It reads no documents one by one.",
    ),
}
