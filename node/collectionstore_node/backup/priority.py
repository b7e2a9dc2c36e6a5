"""The priority of this program. Imports little: everything else is imported at the priority that is set here."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Final

NICENESS: Final = 10
_AUTOGROUP: Final = Path("/proc/self/autogroup")


def lower_priority() -> None:
    """Have this process, and every thread that it starts from now on, come behind others."""
    os.nice(NICENESS)
    if os.getsid(0) == os.getpid():
        # The session is this program's own, as in a container, under cron or under a supervisor: nothing else is slowed
        # down. A kernel without autogroups has no such file, and some containers may not write it.
        with suppress(OSError):
            _AUTOGROUP.write_text(str(NICENESS))
