"""The entries of fixed documents, as the version that introduced indexes made them.

They are in the state of every cluster: another key or value for the same document needs a new feature level.
"""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from collectionstore_node.indexes.definition import parse_definition
from collectionstore_node.indexes.entries import entries_of, stored_entry

DOCUMENTS: tuple[dict[str, Any], ...] = (
    {},
    {"a": None, "b": True},
    {"a": 1, "b": {"c": -2.5}},
    {"b": {"c": 1.0}, "a": -0.0},
    {"a": (1 << 53) + 1, "b": {"c": (1 << 64) - 1}},
    {"a": "Straße\0K\u212a", "b": {"c": "x" * 1_000}},
    {"a": ["k", "K", 3, None, [], [1, {"z": 1}]], "b": [{"c": 1}, {"c": [2, 3]}, {}, 4]},
    {"a": [], "b": []},
    {"a": {"x": {"y": [1, "two", False, None]}}, "b": {"c": {}}},
)
GOLDEN: dict[str, tuple[dict[str, Any], str]] = {
    "plain": ({"fields": {"a": 1}}, "7ed7e435348acd3aa5e48339c6b00d770fd096730177db8f1ae595979e06d9a7"),
    "descending": ({"fields": {"b.c": -1}}, "3546fce87c2f00b4dd0f909bee6c4f1aeec2e4f79a3cee678ba82947959bb472"),
    "compound": ({"fields": {"a": -1, "b.c": 1}}, "27b58b1f26a78db42ec1acd4c599da050be949b846705e4f1b05eee156da8b65"),
    "folded": ({"fields": {"a": 1}, "fold": ["a"]}, "ee34c6c997b609176998f8ec36354179d6fa5697914b693666b226296334ba5b"),
    "sparse": (
        {"fields": {"b.c": 1}, "sparse": True},
        "adc795272c8e27feaa24013ffb7598ffdbfa7d3bde8e2a2f13f2e3ca34a371f2",
    ),
    "partial": (
        {"fields": {"a": 1}, "filter": {"b.c": {"$type": "number"}}},
        "44abc8dc1f710eb715f8f3628ee9ada4b869b238399fd9877d4a6cd8e40b9e1c",
    ),
    "unique": (
        {"fields": {"a": 1, "b.c": -1}, "unique": True},
        "8bb274913fca71e10150ced2c6ed03b320b6a84d8cc07e22e9d8f51423a81966",
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_entries_are_what_they_were(name: str) -> None:
    members, wanted = GOLDEN[name]
    definition = parse_definition({"name": name} | members)
    digest = hashlib.sha256()
    for number, document in enumerate(DOCUMENTS):
        found = entries_of(definition)(document)
        digest.update(repr((number, found.shape, found.multikey, found.long)).encode())
        for key in found.keys:
            for part in stored_entry(b"p", key, b"d%d" % number, found.shape, 7, unique=definition.unique):
                digest.update(len(part).to_bytes(4) + part)
    assert digest.hexdigest() == wanted
