"""Which cluster the options of a command name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from collectionstore.cli.options import ON_KUBERNETES
from collectionstore.contexts.targets import Choice

CONNECTION: Final = (
    "url",
    "context",
    "cluster",
    "kubernetes",
    "namespace",
    "kubeconfig",
    "local",
    "state_dir",
    "timeout_s",
)


def choice_of(context: click.Context, given: dict[str, Any]) -> Choice:
    """Return where the options of a command say its cluster is. Raises UsageError for those that exclude each other.

    `--context` is one of the file of contexts; with `-k`, and in the kubectl plugin, one of the kubeconfig.
    """
    usual = bool(context.find_root().meta.get(ON_KUBERNETES))
    asked = given["kubernetes"] or given["namespace"] is not None or given["kubeconfig"] is not None
    kubernetes = asked or (usual and not given["local"] and not given["url"])
    ways = [bool(given["url"]), asked, given["local"]]
    if sum(ways) > 1:
        raise click.UsageError("--url, --local and -k (with -n, --kubeconfig) exclude each other")
    if not kubernetes and given["context"] and (given["url"] or given["local"] or given["cluster"]):
        raise click.UsageError("--context excludes --url, --local and --cluster: it says where the cluster is")
    if given["url"] and given["cluster"]:
        raise click.UsageError("--url excludes --cluster")
    return Choice(
        url=given["url"] or "",
        context="" if kubernetes else given["context"] or "",
        cluster=given["cluster"] or "",
        kubernetes=kubernetes,
        namespace=given["namespace"] or "",
        kube_context=(given["context"] or "") if kubernetes else "",
        kubeconfig=given["kubeconfig"] or "",
        local=given["local"],
        state_dir=given["state_dir"] or Path(".collectionstore"),
    )
