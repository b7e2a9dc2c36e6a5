"""Operator and program refuse the same options of a repository: each knows nothing of the other's code."""

from __future__ import annotations

from collectionstore_node.backup import options
from collectionstore_operator.resource import repository


def test_operator_and_program_have_the_same_rule() -> None:
    """An option that only the program refuses would be in the resource, and in arguments, before it is refused."""
    assert options.SECRET_OPTION.pattern == repository.SECRET_OPTION
    assert options.NO_SECRET == repository.NO_SECRET
