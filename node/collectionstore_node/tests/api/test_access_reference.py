"""docs/reference/access.md describes what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from collectionstore_node.access.bodies import USER_NAME
from collectionstore_node.access.builtin import BUILT_IN
from collectionstore_node.access.callers import ANONYMOUS_USER
from collectionstore_node.access.configuration import ISSUERS_MAX, REVOKED_MAX, SESSION_S_MAX, AccessConfiguration
from collectionstore_node.access.limits import UserLimits
from collectionstore_node.access.modes import Mode
from collectionstore_node.access.roles import (
    ALL_RULES_MAX,
    DEPTH_MAX,
    FIELDS_MAX,
    FILTER_BYTES_MAX,
    FILTERS_BYTES_MAX,
    FILTERS_MAX,
    NAMES_MAX,
    PATTERNS_MAX,
    ROLE_BYTES_MAX,
    RULES_MAX,
    Rule,
)
from collectionstore_node.access.users import USER_ROLES_MAX, USER_RULES_MAX
from collectionstore_node.access.verbs import VERBS_OF, Kind, Verb
from collectionstore_node.service.access import USE_NOTED_MS
from collectionstore_node.statemachine.access_changes import ROLES_MAX, TOKENS_MAX, USER_TOKENS_MAX, USERS_MAX
from collectionstore_node.statemachine.levels import CHANGES

PAGE = (Path(__file__).parents[4] / "docs" / "reference" / "access.md").read_text()


def rows(heading: str) -> dict[str, list[str]]:
    """Return the rows of the table whose head begins with `heading`, by the names in their first cells."""
    table = PAGE.partition(f"\n| {heading} |")[2].partition("\n\n")[0]
    found = {}
    for line in table.splitlines()[2:]:
        first, *rest = (cell.strip() for cell in line.strip("|").split("|"))
        for name in re.findall(r"`([a-z_]+)`", first):
            found[name] = rest
    return found


def test_bounds_are_as_written() -> None:
    assert f"a role has {ROLE_BYTES_MAX >> 10} KiB, {RULES_MAX} rules, {FILTERS_MAX} of them with a filter" in PAGE
    assert (
        f"of together {FILTERS_BYTES_MAX >> 10} KiB, and {PATTERNS_MAX} patterns; a rule {NAMES_MAX} names of each kind"
        in PAGE
    )
    assert f"a filter of {FILTER_BYTES_MAX >> 10} KiB and {FIELDS_MAX} paths" in PAGE
    assert f"up to {DEPTH_MAX} in a row, and a role has {ALL_RULES_MAX} rules" in PAGE
    assert (
        f"a user has {USER_ROLES_MAX} roles with {USER_RULES_MAX:,} rules in all, and {USER_TOKENS_MAX} tokens" in PAGE
    )
    assert f"there are {USERS_MAX:,} users, {ROLES_MAX} roles and {TOKENS_MAX:,} tokens" in PAGE
    assert f"of a user with {USER_TOKENS_MAX} tokens" in PAGE
    assert f"up to {ISSUERS_MAX} issuers" in PAGE
    assert f"60 s to {SESSION_S_MAX // 86_400} days" in PAGE
    assert f"up to {REVOKED_MAX:,}" in PAGE
    assert USE_NOTED_MS == 3_600_000
    assert "noted once an hour at most" in PAGE
    assert f"(../operate/upgrades.md) {CHANGES}." in PAGE
    assert f"`{ANONYMOUS_USER}` is no user" in PAGE
    assert USER_NAME.fullmatch("a" * 128)
    assert not USER_NAME.fullmatch("a" * 129)


def test_every_verb_is_in_the_table_for_what_it_is_for() -> None:
    table = rows("Verb")
    assert set(table) == set(Verb)
    for verb, cells in table.items():
        assert [bool(cell) for cell in cells] == [verb in VERBS_OF[kind] for kind in Kind], verb


def test_every_built_in_role_is_in_the_table() -> None:
    assert set(rows("Built-in role")) == set(BUILT_IN)


def test_every_field_is_in_its_table() -> None:
    assert set(rows("Field")) == set(Rule.__struct_fields__)
    configuration = PAGE.partition("## Configuration")[2]
    for field in AccessConfiguration.__struct_fields__:
        assert f"| `{field}` |" in configuration, field
    for field in UserLimits.__struct_fields__:
        assert f"`{field}`" in PAGE
    for mode in Mode:
        assert f"`{mode.value}`" in configuration
