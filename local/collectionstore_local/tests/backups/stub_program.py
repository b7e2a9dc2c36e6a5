"""In place of `collectionstore-backup`: notes each start in a file, and ends as the environment says."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path


def main() -> None:
    """Note the start; wait while STUB_HOLD exists; write the result of the task; end with STUB_EXIT."""
    task = sys.argv[1]
    with Path(os.environ["STUB_STARTS"]).open("a") as file:
        file.write(json.dumps([task, *sys.argv[2:]]) + "\n")
    while Path(os.environ["STUB_HOLD"]).exists():
        time.sleep(0.02)
    code = int(os.environ.get("STUB_EXIT", "0"))
    result = Path(os.environ["COLLECTIONSTORE_BACKUP_RESULT_FILE"])
    if code:
        result.write_text(json.dumps({"reason": "StoreUnreachable", "message": "no answer", "exit_code": code}))
    elif task == "create":
        run = next(one.removeprefix("--run=") for one in sys.argv if one.startswith("--run="))
        result.write_text(json.dumps(_made(run)))
    elif task == "drill":
        cluster = next(one.removeprefix("--source-cluster=") for one in sys.argv if one.startswith("--source-cluster="))
        told = {"id": "20260102T030405Z-0123abcd", "cluster_id": cluster, "revision": 5, "records": 1, "seconds": 0.5}
        result.write_text(json.dumps({**told, "state_digest": "0" * 64}))
    else:
        result.write_text("{}")
    sys.exit(code)


def _made(run: str) -> dict[str, object]:
    return {
        "id": f"20260102T030405Z-{run.rpartition('-')[2]}",
        "cluster_id": os.environ["COLLECTIONSTORE_BACKUP_CLUSTER_ID"],
        "member": "demo-1",
        "from_leader": False,
        "term": 2,
        "index": 7,
        "revision": 5,
        "state_digest": "0" * 64,
        "stored_bytes": 372,
        "stream_bytes": 400,
        "started_at": "2026-01-02T03:04:05Z",
        "finished_at": "2026-01-02T03:04:06Z",
        "seconds": 1.0,
    }


if __name__ == "__main__":
    main()
