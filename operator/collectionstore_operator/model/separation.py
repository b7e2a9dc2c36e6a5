"""Whether a resource agrees with the authorities that its members trust. Pure."""

from __future__ import annotations

from collectionstore_operator.model.observed import Observed
from collectionstore_operator.resource.desired import Desired


def contradiction(desired: Desired, observed: Observed) -> str:
    """Return how a resource contradicts an authority of their own that peers trust; empty if it does not.

    Members that start without it would be strangers to the others. The API server refuses to take the field back; a
    resource that was deleted and made again over its volumes may lack it.
    """
    if desired.spec.tls.separate or not observed.peer_authority_recorded:
        return ""
    return "peers trust an authority of their own, and spec.tls.authorities is not Separate: set it again"
