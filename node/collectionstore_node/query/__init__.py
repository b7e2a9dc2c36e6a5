"""Queries: what is asked, which documents must be read for it, and in which order they are answered. Pure.

`parse_find` checks a request; `Find` is what `service.queries` runs over a view of the state.
"""

from collectionstore_node.query.find import Find, parse_find
from collectionstore_node.query.spans import Ids, Span, ids_of

__all__ = ["Find", "Ids", "Span", "ids_of", "parse_find"]
