"""See a local cluster as someone on call does: Prometheus scrapes it, panels are asked, alerts fire for real."""

from __future__ import annotations

import asyncio
import signal
import sys

from collectionstore_observe.errors import ObserveFailed
from collectionstore_observe.options import parse_options
from collectionstore_observe.session import run
from collectionstore_testkit.clusters.errors import ClusterFailed
from collectionstore_testkit.errors import ToolError


def main() -> int:
    """Run; 0 when nothing is wrong, 1 when something is, 2 when the run could not be finished."""
    options = parse_options(__doc__ or "")
    # As Ctrl-C: who ends this program must not leave a cluster behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        findings = asyncio.run(run(options))
    except (ObserveFailed, ToolError, ClusterFailed) as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    print("\n".join(findings.lines()))
    return 0 if findings.good else 1


if __name__ == "__main__":
    sys.exit(main())
