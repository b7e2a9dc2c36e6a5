"""A local cluster for the verbs of csctl and kubectl collectionstore, see `collectionstore.operate.access`."""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from collectionstore.cli.exit_codes import CommandError
from collectionstore.operate.access import ChangedMeanwhile, LogLine, LogQuery, Object
from collectionstore.operate.changes import patched
from collectionstore_local.commands import lifecycle, log_reader
from collectionstore_local.commands.readiness import refresh
from collectionstore_local.errors import LocalError
from collectionstore_local.state import applied_resource, manifest
from collectionstore_local.state.directory import ClusterDirectory, StateDirectory, read_json
from collectionstore_local.state.published_status import read_observed, read_status
from collectionstore_operator.model.assessment import assess
from collectionstore_operator.model.observed import Observed
from collectionstore_operator.planning.plan import plan
from collectionstore_operator.status.preview import preview

REFRESH_S = 1.5
"""How long a look waits for a new observation before it shows an older one."""


class LocalAccess:
    """One cluster of this machine."""

    is_local = True

    def __init__(self, state: StateDirectory, directory: ClusterDirectory) -> None:
        self._state = state
        self._directory = directory
        self.name = directory.name
        self.place = f"directory {state.path}"

    def read(self) -> Object:
        """Return resource and status; the reconcile loop looks again first, if one runs."""
        refresh(self._directory, timeout_s=REFRESH_S)
        status = read_status(self._directory)
        resource: dict[str, Any] = read_json(self._directory.resource) or {}
        if resource:
            resource["metadata"] = {**resource["metadata"], "resourceVersion": version_of(resource)}
        return {**resource, "status": json.loads(msgspec.json.encode(status)) if status is not None else {}}

    def change(self, patch: Object) -> None:
        """Write the changed resource durably, and wake the reconcile loop."""
        lifecycle.require_running(self._directory)
        with self._directory.edit_lock():
            found = read_json(self._directory.resource)
            version = (patch.get("metadata") or {}).get("resourceVersion")
            if version not in (None, version_of(found)):
                raise ChangedMeanwhile(f"{self.name} has changed since it was read; nothing was changed. Try again")
            applied_resource.write(
                self._directory, applied_resource.prepare_edit(self._directory, patched(found, patch))
            )
        self._wake()

    def replace(self, member: str, *, in_place: bool) -> None:
        lifecycle.replace(self._directory, member, in_place=in_place)
        self._wake()

    def preview(self, manifest: Object) -> Object:
        return preview_change(self._directory, manifest)

    def logs(self, query: LogQuery) -> Iterator[LogLine]:
        sources = [log_reader.Source(one, self._directory.node(one).log) for one in query.members]
        tails = [log_reader.Tail(source) for source in sources]
        start = time.time() - query.since_s if query.since_s else 0.0
        count = query.tail * len(sources) if query.tail is not None else None
        for line in log_reader.read_last(tails, since=start, count=count):
            yield LogLine(line.source, line.text)
        if query.follow:
            for line in log_reader.follow(tails):
                yield LogLine(line.source, line.text)

    def create(self, kind: str, body: Object) -> Object:
        raise CommandError(f"a local cluster has no {kind}; see csctl backup --help")

    def _wake(self) -> None:
        # The file is written: if no supervisor runs, it is started and finds it.
        if not lifecycle.is_running(self._directory):
            raise LocalError(f"{self.name} has no reconcile loop: start it with csctl local up -f FILE")
        refresh(self._directory, timeout_s=REFRESH_S)


def version_of(resource: Object) -> str:
    """Return what tells one content of the resource from another, as the resourceVersion of the API server does."""
    return hashlib.sha256(msgspec.json.encode(resource, order="deterministic")).hexdigest()[:16]


def preview_change(directory: ClusterDirectory, proposed: Object) -> Object:
    """Return what applying a manifest would do. Raises ManifestInvalid or ChangeRefused."""
    change = applied_resource.prepare_apply(directory, manifest.accept(proposed))
    refresh(directory, timeout_s=REFRESH_S)
    observed = read_observed(directory) or Observed(now=time.time())
    steps = list(msgspec.to_builtins(preview(plan(assess(change.desired, observed)))))
    return {
        "outcome": change.outcome,
        "changes": [str(one) for one in change.changes],
        "steps": steps,
        "assumed": [],
    }


@contextlib.contextmanager
def open_cluster(state_dir: Path, cluster: str | None, *, may_be_new: bool = False) -> Iterator[LocalAccess]:
    """Open a cluster of a state directory, the only one if `cluster` is None. Raises LocalError.

    With `may_be_new` neither the cluster nor the state directory need exist, and none is created.
    """
    if may_be_new and cluster is not None:
        state = StateDirectory.at(state_dir)
        yield LocalAccess(state, lifecycle.cluster_directory(state, cluster))
        return
    state = StateDirectory.open(state_dir)
    yield LocalAccess(state, state.cluster(cluster))
