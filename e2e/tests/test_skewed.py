"""The operator with another clock: what it writes is skewed, what it measures is not."""

from __future__ import annotations

import subprocess
import sys

from collectionstore_e2e.scenarios.skewed_clocks import SKEWED

PROBE = """
import inspect, time
from collectionstore_operator.kubernetes.api.lease import Lease
from collectionstore_operator.kubernetes.api.tenure import Tenure
for kind in (Lease, Tenure):
    known = inspect.signature(kind).parameters
    wall, clock = known["wall"].default, known["clock"].default
    print(round(wall() - real()), round(clock() - time.monotonic()))
"""


def test_both_leases_have_the_other_wall_clock_and_their_own_monotonic_one() -> None:
    code = SKEWED.format(skew=-240.0).replace("sys.exit(main())", PROBE)
    assert PROBE in code
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert found.stdout.split() == ["-240", "0", "-240", "0"], found.stderr
