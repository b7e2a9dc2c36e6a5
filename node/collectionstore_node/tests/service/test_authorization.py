"""Every operation has a rule, and one that has none is closed."""

from __future__ import annotations

from typing import get_args

import pytest
from msgspec.structs import replace

from collectionstore_node.access.callers import Method
from collectionstore_node.access.modes import Mode
from collectionstore_node.access.policy import Policy
from collectionstore_node.access.rights import Rights
from collectionstore_node.errors import Forbidden
from collectionstore_node.service.access_requests import CreateToken, RevokeToken, SetPassword
from collectionstore_node.service.authorization import RULES, authorize
from collectionstore_node.service.operations import Operation, Restricted
from collectionstore_node.service.refusals import TOLD_MAX, TOLD_S, Refusals
from collectionstore_node.tests.service.access_scene import caller

NOTHING = Rights((), mode=Mode.ENFORCED, revision=1)


def test_every_operation_has_a_rule() -> None:
    assert set(get_args(Operation)) - RULES.keys() == {Restricted}, "only the door makes it, behind the rules"


def test_an_operation_without_a_rule_is_for_those_who_may_do_everything() -> None:
    class Later:
        """An operation of a later version."""

    with pytest.raises(Forbidden, match="admin on the cluster"):
        authorize(Later(), NOTHING, caller("ann"))
    reader = Policy({}, lambda _: None, mode=Mode.ENFORCED, revision=1).rights(caller("ann", "reader"))
    with pytest.raises(Forbidden):
        authorize(Later(), reader, caller("ann"))


@pytest.mark.parametrize("method", Method)
def test_what_is_ones_own_needs_no_role_and_nothing_else_of_it(method: Method) -> None:
    ann = replace(caller("ann"), method=method, credential="0123456789abcdef")
    by_password, by_token = method is Method.PASSWORD, method in (Method.PASSWORD, Method.TOKEN)
    session = CreateToken("1" * 16, "ann", bytes(32), 1, session=True)
    for operation, allowed in (
        (session, by_password),
        (replace(session, user="eve"), False),
        (replace(session, session=False), False),
        (SetPassword("ann", "x"), by_password),
        (SetPassword("eve", "x"), False),
        (RevokeToken("0123456789abcdef"), by_token),
        (RevokeToken("f" * 16), False),
    ):
        if allowed:
            authorize(operation, NOTHING, ann)
            continue
        with pytest.raises(Forbidden, match="admin on the cluster"):
            authorize(operation, NOTHING, ann)


def test_the_same_refusal_is_told_once_in_a_while_and_always_counted() -> None:
    now = 0.0
    refusals = Refusals(lambda: now)
    for _ in range(3):
        refusals.note(Forbidden("read", "collection", "people"), "eve", permitted=False)
    for at in range(2 * TOLD_MAX):
        refusals.note(Forbidden("write", "collection", f"c{at}"), "eve", permitted=True)

    assert refusals.counts == {("read", False): 3, ("write", True): 2 * TOLD_MAX}
    assert len(refusals._told) == TOLD_MAX
    now = TOLD_S
    refusals.note(Forbidden("read", "collection", "people"), "eve", permitted=False)
    assert len(refusals._told) == 1
