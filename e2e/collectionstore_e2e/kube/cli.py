"""The commands of `python -m collectionstore_e2e.kube`; `--help` lists them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from collectionstore_e2e.kube import binaries, cluster, prerequisites
from collectionstore_e2e.kube.errors import KubeError
from collectionstore_e2e.kube.images import cluster_images
from collectionstore_e2e.kube.machines import network
from collectionstore_e2e.kube.machines.machine import Machine
from collectionstore_e2e.kube.places import CACHE, KUBECONFIG, MACHINES, NODES, STATE
from collectionstore_testkit.errors import ToolError
from collectionstore_testkit.progress import Progress


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0: success, 1: error, 3 from `status`: no complete cluster is running."""
    options = _parser().parse_args(arguments)
    try:
        prerequisites.require_root()
        if options.command == "status":
            return _status()
        if options.command == "shell":
            return Machine(options.machine).shell()
        with cluster.locked():
            _change(options)
    except (KubeError, ToolError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; `down` removes what was started, `up` starts over", file=sys.stderr)
        return 130
    return 0


def _change(options: argparse.Namespace) -> None:
    progress = Progress()
    match options.command:
        case "up":
            cluster.up(progress)
        case "down":
            cluster.down(progress)
            progress.say("the cluster was removed; built programs and images are kept in the cache")
        case "load":
            with progress.step(f"load {options.archive} into the nodes"):
                cluster_images.load_archive(options.archive)
        case "kill-node":
            with progress.step(f"kill {options.node}"):
                Machine(options.node).kill()
        case "start-node":
            with progress.step(f"start {options.node}"):
                cluster.restart_node(options.node)
        case "cut-node" | "join-node":
            network.set_cable(options.node, plugged=options.command == "join-node")


def _status() -> int:
    if not cluster.left_over():
        print("no cluster is running")
        return 3
    total_bytes, total_s = 0, 0.0
    for one in cluster.usage():
        total_bytes, total_s = total_bytes + one.memory_bytes, total_s + one.cpu_s
        programs = ", ".join(one.programs) or "stopped"
        pods = f", {one.containers} pods" if one.containers else ""
        print(f"{one.machine:8} {one.memory_bytes >> 20:6} MiB {one.cpu_s:8.1f} s of CPU  {programs}{pods}")
    print(f"{'all':8} {total_bytes >> 20:6} MiB {total_s:8.1f} s of CPU")
    print(f"KUBECONFIG={KUBECONFIG}\nlogs: {STATE}/machines/*/log")
    print(f"kubectl, helm, etcdctl: {binaries.folder()}\ncache: {CACHE}")
    missing = cluster.missing()
    if missing or not cluster.COMPLETE.exists():
        print(f"not complete; missing: {', '.join(missing) or '`up` did not complete'}")
        return 3
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m collectionstore_e2e.kube", description="A Kubernetes cluster of three nodes on this machine."
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("up", help="build what is missing, start the cluster, load this checkout's images")
    commands.add_parser("down", help="remove the cluster; the cache is kept")
    commands.add_parser("status", help="show programs, pods, memory and CPU time")
    commands.add_parser("shell", help="open a shell in a machine").add_argument("machine", choices=MACHINES)
    load = commands.add_parser("load", help="load an image archive (OCI or Docker) into all nodes")
    load.add_argument("archive", type=Path)
    for name, text in (
        ("kill-node", "kill a node, as by a power failure"),
        ("start-node", "start a killed node with its disk"),
        ("cut-node", "disconnect a node from the network"),
        ("join-node", "connect a node again"),
    ):
        commands.add_parser(name, help=text).add_argument("node", choices=NODES)
    return parser
