"""docs/reference/schemas.md describes what the code does."""

from __future__ import annotations

from pathlib import Path

from collectionstore_node.schemas import (
    DEFAULTS_BYTES_MAX,
    NESTING_MAX,
    PATTERNS_MAX,
    SCHEMA_BYTES_MAX,
    SUBSCHEMAS_MAX,
    VIOLATIONS_MAX,
)
from collectionstore_node.schemas.keywords import INSTRUCTIONS_MAX, PATTERN_CHARACTERS_MAX
from collectionstore_node.service.configuration import SHOWN_BYTES_MAX, SHOWN_STEPS_MAX
from collectionstore_node.service.limits import VALIDATED_MAX, VALIDATED_SHOWN_MAX
from collectionstore_node.statemachine.costs import SCHEMA_DEPTH_MAX, SCHEMA_STEPS_MAX, SEQUENCE_TRIES_MAX
from collectionstore_node.statemachine.levels import CHANGES
from collectionstore_node.statemachine.options import Ids, SchemaMode
from collectionstore_node.statemachine.updates import HANDED_BYTES_MAX

PAGE = (Path(__file__).parents[4] / "docs" / "reference" / "schemas.md").read_text()


def test_limits_of_schemas_are_as_written() -> None:
    assert f"{PATTERNS_MAX} of them, {PATTERN_CHARACTERS_MAX:,} characters each" in PAGE
    assert f"{INSTRUCTIONS_MAX:,} instructions together" in PAGE
    assert f"at most {SCHEMA_BYTES_MAX >> 10} KiB, {SUBSCHEMAS_MAX:,} subschemas, and {NESTING_MAX} of them" in PAGE
    assert f"more than {SCHEMA_STEPS_MAX:,} steps, or that is nested more than {SCHEMA_DEPTH_MAX} deep" in PAGE
    assert f"add at most {DEFAULTS_BYTES_MAX >> 10} KiB" in PAGE
    assert f"up to {VIOLATIONS_MAX} places" in PAGE
    assert f"over {SHOWN_BYTES_MAX >> 10} KiB" in PAGE
    assert f"more than {SHOWN_STEPS_MAX:,} steps to check" in PAGE
    assert HANDED_BYTES_MAX == SHOWN_BYTES_MAX
    assert f"up to {SEQUENCE_TRIES_MAX} by one insert" in PAGE
    assert f"1 to {VALIDATED_MAX:,};" in PAGE
    assert f"0 to {VALIDATED_SHOWN_MAX};" in PAGE
    assert f"[feature level](../operate/upgrades.md) {CHANGES}" in PAGE


def test_every_choice_is_described() -> None:
    for one in (*SchemaMode, *Ids):
        assert f"`{one.name.lower()}`" in PAGE
