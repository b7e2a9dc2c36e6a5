"""Expressions: values that are computed from a document, as in MongoDB's aggregation.

`ExpressionParser` turns JSON into a checked tree (`tree`); `compile_expression` turns the tree into one function of a
`Scope`, which holds the document and counts what is computed.
"""

from collectionstore_node.documents.expressions.compiling import Compute, compile_expression
from collectionstore_node.documents.expressions.parsing import ExpressionParser
from collectionstore_node.documents.expressions.scope import Scope, Spent, truthy, weigh
from collectionstore_node.documents.expressions.tree import Node, nodes_of

__all__ = ["Compute", "ExpressionParser", "Node", "Scope", "Spent", "compile_expression", "nodes_of", "truthy", "weigh"]
