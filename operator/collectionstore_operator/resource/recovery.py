"""The field recovery of a spec: the acknowledgement that one survivor may form a new cluster."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta, field

from collectionstore_operator.resource.fields import Part
from collectionstore_operator.resource.labels import NAME_LENGTH_MAX

NONCE_PATTERN: Final = r"^[0-9a-f]{16,64}$"


class Recovery(Part, frozen=True):
    """Recovery acknowledges the recovery of a cluster whose quorum is lost, as offered in status.recovery."""

    nonce: Annotated[
        str,
        Meta(
            pattern=NONCE_PATTERN,
            max_length=64,
            title="the nonce in status.recovery, of 16 to 64 hexadecimal digits",
            description="nonce is copied from status.recovery.nonce: it acknowledges this very loss. Any other value "
            "is ignored. After the recovery it can stay, or be removed.",
        ),
    ]
    from_: Annotated[
        Literal["Survivor"],
        Meta(
            description="from determines where the data comes from. Survivor: the disk of one member, all of whose log "
            "is kept. Defaults to Survivor."
        ),
    ] = field(name="from", default="Survivor")
    survivor: (
        Annotated[
            str,
            Meta(
                pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?-[0-9]{1,4}$",
                max_length=NAME_LENGTH_MAX + 5,
                title="the name of a member, such as demo-1",
                description="survivor is the name of the member whose disk is kept. If absent, the one with the most "
                "up-to-date log; required while the log of a surviving member is not known.",
            ),
        ]
        | None
    ) = None
