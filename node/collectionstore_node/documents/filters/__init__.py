"""Filters: which documents a query is about.

`parse_filter` turns JSON into a checked tree (`tree`), which planners read; `compile_filter` turns the tree into one
function of a document, and `compile_steps` into one that pauses between its tests.
"""

from collectionstore_node.documents.filters.compiling import compile_element_filter, compile_filter
from collectionstore_node.documents.filters.parsing import parse_element_filter, parse_filter
from collectionstore_node.documents.filters.stepping import Steps, compile_steps, heaviest
from collectionstore_node.documents.filters.tree import Node

__all__ = [
    "Node",
    "Steps",
    "compile_element_filter",
    "compile_filter",
    "compile_steps",
    "heaviest",
    "parse_element_filter",
    "parse_filter",
]
