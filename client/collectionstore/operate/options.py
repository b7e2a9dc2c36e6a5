"""Which cluster a verb is about: `-k`, `-n`, `--context`, `--kubeconfig`, or `--local` and `--state-dir`.

`csctl` means a cluster of this machine unless it is told otherwise, `kubectl collectionstore` one on Kubernetes: the
root command says so in its context (`ON_KUBERNETES`).
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from collectionstore.cli.options import ON_KUBERNETES, state_dir_option
from collectionstore.kubernetes.api_server import ApiServer, connect, find_kubeconfig
from collectionstore.operate.access import ClusterAccess, ClusterMissing, Object
from collectionstore.operate.kubernetes_access import KubernetesAccess, list_clusters
from collectionstore.operate.local_plugin import load_local


@dataclass(frozen=True, slots=True)
class Place:
    """Where to look for a cluster."""

    kubernetes: bool
    namespace: str | None
    context: str | None
    kubeconfig: str
    state_dir: Path

    def of_manifest(self, manifest: Object) -> Place:
        """Return the place of a manifest: its namespace, as with kubectl. Raises UsageError if another one is named."""
        named = (manifest.get("metadata") or {}).get("namespace")
        if not self.kubernetes or not named:
            return self
        if self.namespace not in (None, named):
            raise click.UsageError(f"the manifest is of namespace {named}, not of {self.namespace}")
        return replace(self, namespace=str(named))

    @contextlib.contextmanager
    def server(self) -> Iterator[ApiServer]:
        """Connect to the API server. Raises CommandError."""
        with connect(self.kubeconfig, context=self.context) as server:
            yield server

    @contextlib.contextmanager
    def open(self, name: str | None, *, may_be_new: bool = False) -> Iterator[ClusterAccess]:
        """Open a cluster, the only one there is without a name. Raises ClusterMissing or another CommandError.

        With `may_be_new` it need not exist, and only `preview` can be asked of it then.
        """
        if not self.kubernetes:
            with load_local()(self.state_dir, name, may_be_new=may_be_new) as access:
                yield access
            return
        with self.server() as server:
            namespace = self.namespace or server.namespace
            yield KubernetesAccess(server, namespace, name or _only_one(server, namespace))


def place_options(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options that say where a cluster is, and pass `place` in their stead."""

    @functools.wraps(function)
    def command(
        *args: Any,
        kubernetes: bool,
        local: bool,
        namespace: str | None,
        context: str | None,
        kubeconfig: str | None,
        state_dir: Path,
        **rest: Any,
    ) -> None:
        asked = kubernetes or any(one is not None for one in (namespace, context, kubeconfig))
        if local and asked:
            raise click.UsageError("--local excludes --kubernetes, --namespace, --context and --kubeconfig")
        usual = bool(click.get_current_context().find_root().meta.get(ON_KUBERNETES))
        place = Place(
            kubernetes=asked or (usual and not local),
            namespace=namespace,
            context=context,
            kubeconfig=find_kubeconfig(kubeconfig),
            state_dir=state_dir,
        )
        function(*args, place=place, **rest)

    options = (
        click.option("-k", "--kubernetes", is_flag=True, help="The cluster is on Kubernetes."),
        click.option("--local", is_flag=True, help="The cluster runs on this machine."),
        click.option("-n", "--namespace", help="Namespace of the cluster. [default: that of the context]"),
        click.option("--context", help="Context of the kubeconfig. [default: the current one]"),
        click.option("--kubeconfig", help="The kubeconfig. [default: KUBECONFIG, ~/.kube/config]"),
        state_dir_option,
    )
    for option in reversed(options):
        command = option(command)
    return command


def wait_options(timeout_s: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add `--wait/--no-wait` and `--timeout`."""

    def add(function: Callable[..., None]) -> Callable[..., None]:
        waiting = click.option(
            "--wait/--no-wait", default=True, show_default=True, help="Wait until it is done, and show the steps."
        )
        limit = click.option(
            "--timeout",
            "timeout_s",
            type=click.FloatRange(min=0, min_open=True),
            default=timeout_s,
            show_default=True,
            metavar="SECONDS",
            help="How long to wait; the operator goes on after it.",
        )
        return waiting(limit(function))

    return add


yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask for confirmation.")


def _only_one(server: ApiServer, namespace: str) -> str:
    found = [str(one["metadata"]["name"]) for one in list_clusters(server, namespace)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise ClusterMissing(f"there is no CollectionStoreCluster in namespace {namespace}; another one: -n NAMESPACE")
    raise ClusterMissing(f"namespace {namespace} has several clusters; name one: {', '.join(found)}")
