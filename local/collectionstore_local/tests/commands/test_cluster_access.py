"""A local cluster for the verbs: two changes at once are both kept."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from collectionstore.kubernetes import names
from collectionstore.operate.access import ChangedMeanwhile
from collectionstore.operate.changing import annotate, fenced_members, write_fence
from collectionstore_local.commands.cluster_access import LocalAccess
from collectionstore_local.state import applied_resource, manifest
from collectionstore_local.state.directory import StateDirectory

MANIFEST = Path(__file__).parents[4] / "examples" / "local.yaml"


@pytest.fixture
def access(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalAccess:
    state = StateDirectory.at(tmp_path / "state")
    directory = state.create_cluster("demo")
    applied_resource.write(directory, applied_resource.prepare_apply(directory, manifest.load(MANIFEST)))
    monkeypatch.setattr(LocalAccess, "_wake", lambda _self: None)
    return LocalAccess(state, directory)


def adding(member: str) -> Any:
    def fenced(resource: Mapping[str, Any]) -> tuple[str, ...]:
        return (*fenced_members(resource), member)

    return fenced


def test_two_fences_at_once_are_both_kept(access: LocalAccess) -> None:
    first, second = access.read(), access.read()
    write_fence(access, first, adding("demo-0"))
    write_fence(access, second, adding("demo-1"))
    assert fenced_members(access.read()) == ("demo-0", "demo-1")


def test_change_of_an_older_version_is_refused_and_nothing_is_changed(access: LocalAccess) -> None:
    old = access.read()["metadata"]["resourceVersion"]
    annotate(access, names.FENCE, "demo-0")
    with pytest.raises(ChangedMeanwhile):
        annotate(access, names.FENCE, "demo-1", version=old)
    assert fenced_members(access.read()) == ("demo-0",)
    annotate(access, names.FENCE, None, version=access.read()["metadata"]["resourceVersion"])
    assert fenced_members(access.read()) == ()
