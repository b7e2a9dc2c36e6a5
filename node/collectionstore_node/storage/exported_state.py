"""`ExportedState`: what a member says of its state before it sends it, to programs that back it up. Pure."""

from __future__ import annotations

import msgspec


class ExportedState(msgspec.Struct, frozen=True):
    """Whose a state is, and where in the history: JSON in a header of the answer, before the bytes of a snapshot file.

    Programs of other versions read it: fields are added with a default, and none is given a new meaning.
    """

    cluster_id: str
    node_id: str
    """The member that it was read from: its incarnation."""
    name: str
    version: str
    leader: bool
    """Whether that member led the cluster, as far as it knew."""
    index: int
    term: int
    revision: int
    feature_level: int
    time_ms: int
    """The replicated time, in milliseconds since 1970 UTC as leaders saw it."""
    state_digest: str
