"""Calls that change the cluster, sent without a credential."""

from __future__ import annotations

import json
from typing import Any, Final

from collectionstore_attack.field import Attack, Field
from collectionstore_attack.flood import Request, flood

CONCURRENCY: Final = 6
_JSON: Final = {"Content-Type": "application/json"}
EPOCH_MAX: Final = (1 << 64) - 1


def _add(**changes: object) -> dict[str, Any]:
    return {
        "action": "add",
        "node_id": "00000000000000b2",
        "name": "attack-5",
        "address": "127.0.0.1:1",
        "http_address": "http://127.0.0.1:1",
        **changes,
    }


CALLS: Final[tuple[tuple[str, object], ...]] = (
    ("members", _add()),
    ("members", _add(epoch=EPOCH_MAX)),
    ("members", _add(epoch=1 << 63)),
    ("members", _add(name="a\0b")),
    ("members", _add(name="a" * 20_000)),
    ("members", _add(http_address="http://x\r\nEvil: 1")),
    ("members", {"action": "remove", "node_id": "0000000000000001"}),
    ("members", {"changes": [_add()] * 1_000}),
    ("members", {"changes": []}),
    ("members", []),
    ("transfer-leadership", {"node_id": None, "epoch": EPOCH_MAX}),
    ("transfer-leadership", {"node_id": "0000000000000001"}),
    ("bootstrap", {"epoch": EPOCH_MAX}),
)
REFUSALS: Final = frozenset({"400", "401", "403", "404", "409", "413", "415", "422", "503"})


async def without_credential(field: Field) -> None:
    """Call every route that changes the cluster without a credential: nothing may be accepted."""
    requests = [Request("POST", f"/api/v1/cluster/{path}", json.dumps(body).encode(), _JSON) for path, body in CALLS]
    requests.append(Request("PUT", "/debug/log-level", b'{"level": "debug"}', _JSON))
    await flood(field, CONCURRENCY, lambda number: requests[number % len(requests)])
    accepted = {answer for answer in field.answers if answer.isdigit() and answer not in REFUSALS}
    if accepted:
        field.broken.append(
            f"calls that change the cluster were answered {', '.join(sorted(accepted))} without a token"
        )


ATTACKS: Final = (
    Attack("admin-calls", "membership, leadership and log level without a credential", without_credential),
)
