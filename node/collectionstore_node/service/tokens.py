"""How members sign what clients hand back to them; re-exported, so that a front end depends on the store alone."""

from __future__ import annotations

from collectionstore_node.statemachine.tokens import SIGNATURE_BYTES, is_signed, signature

__all__ = ["SIGNATURE_BYTES", "is_signed", "signature"]
