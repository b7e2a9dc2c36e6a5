"""A cluster of three as an API server stores it, and a kubectl plugin that talks to it."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from collectionstore.kubernetes import names
from collectionstore.plugin import main
from collectionstore.tests.kubernetes.fake_api_server import FakeApiServer

PATH = names.CLUSTERS.path("shop", "demo")
EXPIRES = "2027-02-20T05:00:00Z"


def member(ordinal: int, **changed: Any) -> dict[str, Any]:
    """Return a member as in the status."""
    usual = {
        "name": f"demo-{ordinal}",
        "ordinal": ordinal,
        "nodeID": f"{ordinal:016x}",
        "role": "Leader" if ordinal == 0 else "Voter",
        "ready": True,
        "lag": 0,
        "version": "0.1.0",
        "updated": True,
        "restarts": 0,
        "volume": f"data-demo-{ordinal}",
        "certificateExpires": EXPIRES,
        "certificateSerial": "1f" * 16,
        "certificateAuthority": "ab" * 20,
        "address": f"https://demo-{ordinal}.demo-peers.shop.svc:7400",
        "message": "",
    }
    return {**usual, **changed}


def condition(kind: str, status: str, reason: str, message: str = "") -> dict[str, Any]:
    return {"type": kind, "status": status, "reason": reason, "message": message, "observedGeneration": 1}


def cluster(**status: Any) -> dict[str, Any]:
    """Return the resource; `status` replaces parts of its status."""
    usual = {
        "observedGeneration": 1,
        "membersSummary": "3/3",
        "readyMembers": 3,
        "replicas": 3,
        "leader": "demo-0",
        "term": 2,
        "faultTolerance": 1,
        "version": "0.1.0",
        "clusterID": "0123456789abcdef",
        "revision": "r1",
        "configuration": {"index": 7, "voters": ["demo-0", "demo-1", "demo-2"]},
        "authority": {"phase": "Steady", "key": "ab" * 20, "expires": "2036-11-27T05:00:00Z"},
        "members": [member(0), member(1), member(2)],
        "conditions": [
            condition("Ready", "True", "AllMembersReady", "3 of 3 members are ready"),
            condition("MembersUpdated", "True", "AllUpdated", "all members run the desired revision"),
        ],
    }
    return {
        "apiVersion": "collectionstore.io/v1alpha1",
        "kind": "CollectionStoreCluster",
        "metadata": {"name": "demo", "namespace": "shop", "generation": 1, "uid": "u1"},
        "spec": {"replicas": 3},
        "status": {**usual, **status},
    }


class Plugin:
    """Runs `kubectl collectionstore` against a fake API server."""

    def __init__(self, fake: FakeApiServer, kubeconfig: Path) -> None:
        self.fake = fake
        self._kubeconfig = kubeconfig

    def run(self, *words: str, code: int = 0, columns: int = 120, stdin: str = "") -> str:
        """Return what it printed; the exit code must be `code`."""
        result = self.result(*words, columns=columns, stdin=stdin)
        assert result.exit_code == code, (result.exit_code, result.output, result.exception)
        return result.output

    def result(self, *words: str, columns: int = 120, stdin: str = "") -> Result:
        place = ("--kubeconfig", str(self._kubeconfig), "-n", "shop")
        environment = {"COLUMNS": str(columns)}
        return CliRunner().invoke(main, [words[0], *place, *words[1:]], env=environment, input=stdin)

    @property
    def stored(self) -> dict[str, Any]:
        """The resource as it is stored now."""
        return self.fake.objects[PATH]

    def writes(self) -> list[tuple[str, Any]]:
        """Return path and body of every request that changed something."""
        return [(one.path, one.body) for one in self.fake.requests if one.method != "GET"]


@contextmanager
def plugin(tmp_path: Path, *resources: dict[str, Any]) -> Iterator[Plugin]:
    """Serve resources, by default the cluster of three, and yield the plugin."""
    fake = FakeApiServer()
    for one in resources or (cluster(),):
        body = copy.deepcopy(one)
        fake.objects[names.CLUSTERS.path("shop", body["metadata"]["name"])] = body
    with fake:
        path = tmp_path / "kubeconfig"
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "here",
                    "contexts": [
                        {"name": "here", "context": {"cluster": "c", "user": "u", "namespace": "other"}},
                        {"name": "there", "context": {"cluster": "c", "user": "u", "namespace": "shop"}},
                    ],
                    "clusters": [{"name": "c", "cluster": {"server": fake.url}}],
                    "users": [{"name": "u", "user": {"token": "t0k3n-of-the-user"}}],
                }
            )
        )
        yield Plugin(fake, path)
