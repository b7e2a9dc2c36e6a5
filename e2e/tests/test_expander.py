"""When the controller of a class that expands has something to do for a claim."""

from __future__ import annotations

from typing import Any

import pytest

from collectionstore_e2e.product.expander import capacity, is_due, is_growing, requested


def claim(wanted: str, has: str, **status: Any) -> dict[str, Any]:
    spec = {"resources": {"requests": {"storage": wanted}}}
    return {"spec": spec, "status": {"phase": "Bound", "capacity": {"storage": has}, **status}}


def allocated(size: str, state: str) -> dict[str, Any]:
    return {"allocatedResources": {"storage": size}, "allocatedResourceStatuses": {"storage": state}}


@pytest.mark.parametrize(
    ("found", "growing", "due"),
    [
        (claim("64Mi", "64Mi"), False, False),
        (claim("128Mi", "64Mi"), True, True),
        (claim("128Mi", "64Mi", phase="Pending"), False, False),
        (claim("128Mi", "64Mi", **allocated("128Mi", "ControllerResizeInProgress")), True, True),
        (claim("128Mi", "64Mi", **allocated("128Mi", "NodeResizePending")), True, False),
        (claim("256Mi", "64Mi", **allocated("128Mi", "NodeResizePending")), True, True),
    ],
    ids=["large enough", "asked for", "not bound", "begun", "the kubelet's turn", "asked for more meanwhile"],
)
def test_a_claim_is_expanded_until_it_is_the_turn_of_the_kubelet(
    found: dict[str, Any], *, growing: bool, due: bool
) -> None:
    assert (is_growing(found), is_due(found)) == (growing, due)


def test_a_claim_without_a_status_has_no_capacity() -> None:
    assert capacity({"spec": {}}) == ""
    assert requested(claim("64Mi", "")) == "64Mi"
