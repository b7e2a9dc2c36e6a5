"""How volumes are set aside, so that the members of a new cluster start on empty ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from collectionstore_operator.model.actions import RetireVolume
from collectionstore_operator.model.assessment import Assessment
from collectionstore_operator.model.observed import Slot, Unknown, Volume
from collectionstore_operator.model.plan import Proposal, postpone, propose


def set_aside(assessment: Assessment, slots: Iterable[Slot], step: str) -> Iterator[Proposal]:
    """Yield what detaches the volumes of `slots` and keeps them, as parts of the step `step`."""
    for slot in slots:
        name = assessment.name(slot.ordinal)
        reason = f"{name} must start on an empty volume; this one is kept"
        if isinstance(slot.volume, Volume):
            # Kept whatever the retention is: it may hold what no other volume has.
            action = RetireVolume(ordinal=slot.ordinal, name=slot.volume.name, keep=True, reason=reason)
            yield propose(action, subject=name, name=step)
        elif isinstance(slot.volume, Unknown):
            waits = f"the volume of {name} cannot be observed: {slot.volume.reason}"
            yield postpone(step, reason=reason, blocked_by=waits, subject=name)
