"""A cluster on Kubernetes, as the user of a kubeconfig: the resource, its objects, and pages of members."""

from __future__ import annotations

import contextlib
import heapq
import json
import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from collectionstore.cli.exit_codes import CommandError
from collectionstore.kubernetes import names
from collectionstore.kubernetes.api_server import ApiError, ApiServer
from collectionstore.operate.access import ChangedMeanwhile, ClusterMissing, LogLine, LogQuery, Object, ResourceInvalid
from collectionstore.operate.changes import applied, resource_differences
from collectionstore.operate.planner import load_planner

LOG_BYTES_MAX: Final = 16 << 20
STATUS_BYTES_MAX: Final = 1 << 20
READERS: Final = 4
KINDS: Final = {names.CLUSTER_KIND: names.CLUSTERS, names.BACKUP_KIND: names.BACKUPS}
INVALID: Final = (400, 422)
CONFLICT: Final = 409


@contextlib.contextmanager
def refusals(what: str) -> Iterator[None]:
    """Turn an ApiError into the error of a command, with its exit code."""
    try:
        yield
    except ApiError as error:
        if error.status == 404:
            raise ClusterMissing(f"{what}: {error}") from error
        if error.status in INVALID:
            raise ResourceInvalid(f"{what}: {error}\nNothing was changed.") from error
        raise CommandError(f"{what}: {error}") from error


class KubernetesAccess:
    """One CollectionStoreCluster; see `ClusterAccess`."""

    is_local = False

    def __init__(self, server: ApiServer, namespace: str, name: str) -> None:
        self._server = server
        self._namespace = namespace
        self.name = name
        self.place = f"namespace {namespace}"
        self._path = names.CLUSTERS.path(namespace, name)

    def read(self) -> Object:
        with refusals(f"cannot read the cluster {self.name} in {self.place}"):
            return self._server.get_object(self._path)

    def change(self, patch: Object) -> None:
        with refusals(f"cannot change the cluster {self.name} in {self.place}"):
            try:
                self._server.merge(self._path, patch)
            except ApiError as error:
                if error.status != CONFLICT:
                    raise
                raise ChangedMeanwhile(
                    f"the cluster {self.name} in {self.place} was changed by another at the same time. "
                    "Nothing was changed; run the command again"
                ) from error

    def replace(self, member: str, *, in_place: bool) -> None:
        patch = {"metadata": {"annotations": {names.REPLACE: "in-place" if in_place else "true"}}}
        with refusals(f"cannot ask for the replacement of {member}"):
            self._server.merge(names.PODS.path(self._namespace, member), patch)

    def create(self, kind: str, body: Object) -> Object:
        with refusals(f"cannot create the {kind} {body['metadata'].get('name', '')} in {self.place}"):
            return self._server.create(KINDS[kind].path(self._namespace), body)

    def preview(self, manifest: Object) -> Object:
        planner = load_planner()
        resource = self._find()
        proposed = applied(resource, manifest)
        proposed["metadata"]["namespace"] = self._namespace
        changes = resource_differences(resource, proposed)
        if resource is not None and resource.get("spec") != proposed.get("spec"):
            proposed["metadata"]["generation"] = int(proposed["metadata"].get("generation") or 0) + 1
        found = planner(
            {"now": time.time(), "proposed": proposed, "resource": resource, **(self._objects() if resource else {})}
        )
        if found["errors"]:
            lines = [f"{one['path']}: {one['message']}\n    allowed: {one['allowed']}" for one in found["errors"]]
            raise ResourceInvalid("\n".join([*lines, "Nothing was changed."]))
        outcome = "created" if resource is None else "configured" if changes else "unchanged"
        return {"outcome": outcome, "changes": changes, "steps": found["steps"], "assumed": found["assumed"]}

    def logs(self, query: LogQuery) -> Iterator[LogLine]:
        options = {"timestamps": "true"}
        if query.tail is not None:
            options["tailLines"] = str(query.tail)
        if query.since_s is not None:
            options["sinceSeconds"] = str(max(1, round(query.since_s)))
        if query.follow:
            yield from self._followed(query.members, options)
            return
        with ThreadPoolExecutor(READERS) as readers:
            lots = list(readers.map(lambda member: self._last_lines(member, options), query.members))
        # By the time that the kubelet has noted before each line: RFC 3339 in UTC sorts as text.
        for stamped, member in heapq.merge(*lots):
            yield LogLine(member, stamped.partition(" ")[2])

    def _last_lines(self, member: str, options: dict[str, str]) -> list[tuple[str, str]]:
        path = f"{names.PODS.path(self._namespace, member)}/log"
        with refusals(f"cannot read the log of {member}"):
            content = self._server.read(path, options, bytes_max=LOG_BYTES_MAX)
        return [(line, member) for line in content.decode(errors="replace").splitlines()]

    def _followed(self, members: tuple[str, ...], options: dict[str, str]) -> Iterator[LogLine]:
        lines: queue.Queue[LogLine | ApiError | None] = queue.Queue(maxsize=1_000)
        for member in members:
            # Daemons: a log that is silent would keep the process alive after Ctrl-C.
            threading.Thread(target=self._pump, args=(member, options, lines), daemon=True).start()
        open_logs = len(members)
        while open_logs:
            one = lines.get()
            if isinstance(one, LogLine):
                yield one
                continue
            open_logs -= 1
            if one is not None:
                with refusals("cannot follow the log"):
                    raise one

    def _pump(self, member: str, options: dict[str, str], lines: queue.Queue[LogLine | ApiError | None]) -> None:
        path, rest = f"{names.PODS.path(self._namespace, member)}/log", b""
        try:
            for chunk in self._server.follow(path, {**options, "follow": "true"}):
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    lines.put(LogLine(member, line.decode(errors="replace").partition(" ")[2]))
        except ApiError as error:
            lines.put(error)
            return
        lines.put(None)

    def _find(self) -> Object | None:
        try:
            return self.read()
        except ClusterMissing:
            return None

    def _objects(self) -> Object:
        with refusals(f"cannot read the objects of {self.name}"):
            voters = self._group(names.member_labels(self.name), self.name)
            reads = self._group(names.read_replica_labels(self.name), f"{self.name}-read")
        named = [one["metadata"]["name"] for one in (*voters["pods"], *reads["pods"])]
        with ThreadPoolExecutor(READERS) as readers:
            answers = dict(readers.map(lambda name: (name, self._answer(name)), named))
        return {**voters, "reads": reads, "answers": answers}

    def _group(self, labels: dict[str, str], workload: str) -> Object:
        """Return the pods, claims and StatefulSet of the voters, or of the read replicas."""
        workloads = self._server.list_objects(names.STATEFUL_SETS, self._namespace, labels)
        return {
            "pods": self._server.list_objects(names.PODS, self._namespace, labels),
            "claims": self._server.list_objects(names.PERSISTENT_VOLUME_CLAIMS, self._namespace, labels),
            "workload": next((one for one in workloads if one["metadata"]["name"] == workload), None),
        }

    def _answer(self, pod: str) -> Object:
        """Return what a member answers to GET /status; what cannot be known is an error beside the others."""
        path = f"{names.PODS.path(self._namespace, pod)}:{names.METRICS_PORT}/proxy/status"
        try:
            answer = json.loads(self._server.read(path, bytes_max=STATUS_BYTES_MAX))
        except (ApiError, ValueError) as error:
            return {"error": str(error)}
        return answer if isinstance(answer, dict) else {"error": "its status is not an object"}


def list_clusters(server: ApiServer, namespace: str | None) -> list[Object]:
    """Return the clusters of a namespace, or of all. Raises CommandError."""
    with refusals("cannot list the clusters"):
        return server.list_objects(names.CLUSTERS, namespace)
