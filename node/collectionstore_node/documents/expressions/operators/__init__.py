"""The operators whose arguments are all computed first, one file for each family."""

from typing import Final

from collectionstore_node.documents.expressions.operators.arithmetic import ARITHMETIC
from collectionstore_node.documents.expressions.operators.arrays import ARRAYS
from collectionstore_node.documents.expressions.operators.comparison import COMPARISON
from collectionstore_node.documents.expressions.operators.conversions import CONVERSIONS
from collectionstore_node.documents.expressions.operators.dates import DATES
from collectionstore_node.documents.expressions.operators.forms import ARGUMENTS_MAX, NOT_GIVEN, Operator
from collectionstore_node.documents.expressions.operators.objects import OBJECTS
from collectionstore_node.documents.expressions.operators.texts import TEXTS
from collectionstore_node.documents.expressions.operators.totals import TOTALS

OPERATORS: Final[dict[str, Operator]] = {
    **ARITHMETIC,
    **ARRAYS,
    **COMPARISON,
    **CONVERSIONS,
    **DATES,
    **OBJECTS,
    **TEXTS,
    **TOTALS,
}

__all__ = ["ARGUMENTS_MAX", "NOT_GIVEN", "OPERATORS", "Operator"]
