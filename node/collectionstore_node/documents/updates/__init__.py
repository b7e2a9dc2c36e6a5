"""Updates: one document computed from another one, by operators or by a patch.

`parse_update` turns JSON into a checked `Program`, which computes the text of a document from that of an earlier one,
or that of a new one. The state machine runs programs while it applies an entry, so they are deterministic and read no
clock; what they cost is counted in steps and bytes (`budget`), which end a program, not a replica.

The operators are MongoDB's, as its manual defines them; the patches are RFC 7396 and RFC 6902. Where they differ on
purpose, the page docs/reference/updates.md says so.
"""

from collectionstore_node.documents.updates.budget import BYTES_MAX, STEPS_MAX, Budget, too_deep
from collectionstore_node.documents.updates.conditions import Condition, count_patterns, parse_condition
from collectionstore_node.documents.updates.failures import Failed, Reason
from collectionstore_node.documents.updates.fields import Fields
from collectionstore_node.documents.updates.program import Form, Program, parse_update

__all__ = [
    "BYTES_MAX",
    "STEPS_MAX",
    "Budget",
    "Condition",
    "Failed",
    "Fields",
    "Form",
    "Program",
    "Reason",
    "count_patterns",
    "parse_condition",
    "parse_update",
    "too_deep",
]
