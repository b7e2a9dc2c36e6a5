"""The instruction to recover: which incarnation of which cluster, and for which acknowledgement. Pure.

It is written `<member>/<node ID>/<cluster ID>/<nonce>`, so that it fits into one environment variable that all pods
of a template share: only the incarnation that it names acts on it.
"""

from __future__ import annotations

from typing import NamedTuple

from collectionstore_node.settings import RECOVER_ALLOWED, RECOVER_PATTERN


class Instruction(NamedTuple):
    """Whose data is to become that of a new cluster."""

    name: str
    node_id: int
    """The incarnation that was chosen: another directory under the same name must not take its place."""
    cluster_id: str
    """Of the old cluster."""
    nonce: str
    """What the user has acknowledged; 16 to 64 hexadecimal digits."""

    @classmethod
    def parse(cls, text: str) -> Instruction:
        """Read an instruction. Raises `ValueError` with what is allowed."""
        match = RECOVER_PATTERN.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is no instruction to recover; allowed: {RECOVER_ALLOWED}")
        return cls(match["name"], int(match["node"], 16), match["cluster"], match["nonce"])
