"""The operator with fault points: it dies or stands still at each once, below a process that goes on."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import POD
from collectionstore_e2e.product.installation import GONE_S, LABELS, NAME, operator
from collectionstore_operator import faults

FOLDER: Final = "/faults"
RECORD: Final = f"{FOLDER}/points"
ROUND: Final = ("Round.observed", "Round.published")


class Points:
    """The record of the points that the operator has met."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def met(self) -> frozenset[str]:
        """Return the points since `forget`."""
        return frozenset((await self._python(f"print(open({RECORD!r}).read())")).split())

    async def forget(self) -> None:
        """Let every point have its effect once more."""
        await self._python(f"open({RECORD!r}, 'w')")

    async def disarm(self) -> None:
        """Let no point have its effect any more."""
        await self._python(f"open({RECORD!r}, 'w').write({' '.join(faults.POINTS)!r})")

    async def _python(self, code: str) -> str:
        return await self._context.kubectl.exec(f"deployment/{NAME}", "python3", "-c", code)


@asynccontextmanager
async def faulty_operator(context: Context, effect: faults.Effect, program: str) -> AsyncIterator[Points]:
    """Install the operator with this effect at every point; `program` (Python) starts it and is told of its ends."""
    async with operator(context):
        patch = {
            "spec": {
                "template": {
                    "spec": {
                        "containers": [
                            {
                                "name": "operator",
                                "command": ["python3", "-c", program],
                                "env": [
                                    {"name": "COLLECTIONSTORE_FAULT_POINT", "value": f"{faults.EVERY}:{effect}"},
                                    {"name": "COLLECTIONSTORE_FAULT_RECORD", "value": RECORD},
                                ],
                                "volumeMounts": [{"name": "faults", "mountPath": FOLDER}],
                            }
                        ],
                        "volumes": [{"name": "faults", "emptyDir": {}}],
                    }
                }
            }
        }
        await context.kubectl("patch", "deployment", NAME, "--type=strategic", f"--patch={json.dumps(patch)}")
        await context.kubectl("rollout", "status", f"deployment/{NAME}", "--timeout=90s", timeout_s=120)
        await context.client.until(
            POD, lambda found: len(found) == 1, what="one operator alone", timeout_s=GONE_S, labels=LABELS
        )
        points = Points(context)
        try:
            yield points
        finally:
            # The operator must remove the finalizers at the end, whatever happened.
            await points.disarm()


def assert_met(what: str, met: frozenset[str], expected: Sequence[str]) -> None:
    """Assert that a procedure met the points of a round, and those around the `expected` actions."""
    # Death within an action comes before its end, and need not leave anything of it to repeat.
    within = {one.partition(".")[0] for one in met if one in faults.INNER}
    due = {*ROUND, *(f"{one}.before" for one in expected), *(f"{one}.after" for one in expected if one not in within)}
    assert met >= due, f"{what}: never reached: {sorted(due - met)}"
