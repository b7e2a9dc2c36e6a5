"""The kubectl plugin: `kubectl collectionstore`, the executable `kubectl-collectionstore` on the PATH.

The verbs are those of csctl; only the place is another one: a cluster is on Kubernetes unless `--local` is given.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import ClassVar

import click

from collectionstore.cli.commands import run_root
from collectionstore.cli.lazy import LazyGroup
from collectionstore.cli.options import ON_KUBERNETES
from collectionstore.data import catalogue
from collectionstore.operate.verbs import CHANGING, LOOKING, SAVING
from collectionstore.report.command import report

HELP = """Look at and operate Collection Store clusters.

A cluster is a CollectionStoreCluster of the namespace of your context; -n, --context and --kubeconfig are those of
kubectl. With --local it is one that csctl local runs on this machine.

\b
Look:
  kubectl collectionstore status                    all clusters, or the only one
  kubectl collectionstore status demo -n shop       members, conditions, plan
  kubectl collectionstore plan -f demo.yaml         what applying it would do
  kubectl collectionstore logs demo -f              the logs of all members

\b
Operate:
  kubectl collectionstore restart demo              one member after the other
  kubectl collectionstore replace demo demo-1       a new member on an empty volume
  kubectl collectionstore transfer-leader demo 2    switch over
  kubectl collectionstore hibernate demo            stop, and keep the data

\b
Use:
  kubectl collectionstore find books 'year>=1950' --cluster demo
  kubectl collectionstore shell --cluster demo      through a port-forward of its own

\b
Exit codes:
  0 done                   5 no such cluster or member
  1 failed                 6 timed out; the operator goes on
  2 wrong usage            7 refused: not a state directory of csctl
  3 invalid manifest or change; nothing was changed
"""


class Sections(LazyGroup):
    """The verbs, and the commands on data."""

    lazy = catalogue.ALL
    sections: ClassVar = {
        "Look at a cluster": (*(str(one.name) for one in LOOKING), "report"),
        "Change a cluster": tuple(str(one.name) for one in CHANGING),
        "Back up and restore": tuple(str(one.name) for one in SAVING),
        **{title: tuple(section) for title, section in catalogue.SECTIONS.items()},
    }


@click.group(cls=Sections, help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="collectionstore", prog_name="kubectl collectionstore")
@click.pass_context
def main(context: click.Context) -> None:
    """Run the root command; the verbs do the work."""
    context.meta[ON_KUBERNETES] = True


@main.command("version")
def show_version() -> None:
    """Show the installed version."""
    click.echo(f"kubectl collectionstore {version('collectionstore')}")


for one in (*LOOKING, *CHANGING, *SAVING, report):
    main.add_command(one)


def run() -> None:
    """Run the plugin; kubectl calls it with the arguments after its name."""
    run_root(main, "kubectl collectionstore")
