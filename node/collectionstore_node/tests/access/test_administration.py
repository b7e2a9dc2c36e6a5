"""Who may administer the cluster, by roles."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from collectionstore_node.access.administration import Administration
from collectionstore_node.access.builtin import BUILT_IN
from collectionstore_node.access.callers import Caller, Method
from collectionstore_node.access.modes import Mode
from collectionstore_node.access.policy import Policy
from collectionstore_node.access.roles import Effect, Role, Rule
from collectionstore_node.access.verbs import Kind, Verb

RULES = (
    Rule(verbs=("admin",), cluster=True),
    Rule(verbs=("*",), cluster=True, collections=("a",)),
    Rule(verbs=("admin",), cluster=True, effect=Effect.DENY),
    Rule(verbs=("admin",), collections=("*",)),
    Rule(verbs=("monitor",), cluster=True, effect=Effect.DENY),
)


@given(st.data())
def test_it_is_as_the_rights_of_a_caller_say(data: st.DataObject) -> None:
    roles: dict[str, Role] = {}
    for name in ("a", "b", "c"):
        inherits = data.draw(st.lists(st.sampled_from((*roles, "reader", "operator")), max_size=2, unique=True))
        rules = data.draw(st.lists(st.sampled_from(RULES), max_size=2))
        roles[name] = Role(tuple(rules), tuple(inherits))
    administration = Administration(lambda name: BUILT_IN.get(name) or roles.get(name))
    policy = Policy(roles, lambda name: None, mode=Mode.ENFORCED, revision=1)
    for _ in range(3):
        named = tuple(data.draw(st.lists(st.sampled_from((*roles, "admin", "reader", "nowhere")), max_size=3)))
        rights = policy.rights(Caller("ada", Method.JWT, named))
        assert administration.allowed(named) is rights.allows(Verb.ADMIN, Kind.CLUSTER, "")
