"""All verbs, in the order in which a root command lists them."""

from __future__ import annotations

from typing import Final

import click

from collectionstore.operate import changing, looking, restoring, saving

LOOKING: Final[tuple[click.Command, ...]] = (
    looking.status,
    looking.members,
    looking.plan,
    looking.certificates,
    looking.logs,
)
CHANGING: Final[tuple[click.Command, ...]] = (
    changing.restart,
    changing.replace,
    changing.transfer_leader,
    changing.fence,
    changing.unfence,
    changing.hibernate,
    changing.wake,
    changing.approve_update,
    changing.rotate_authority,
    saving.recover,
)
SAVING: Final[tuple[click.Command, ...]] = (saving.backup, saving.restore, restoring.restore_in_place)
"""Not in csctl, where `backup` and `restore` are those of collectionstore-local, with all options of a repository."""
