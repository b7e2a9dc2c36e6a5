"""`csctl local partition`, `pause`, `kill` and `heal`: inject faults into a local cluster, and end them."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Sequence

import click
import msgspec

from collectionstore.cli.options import SHORT_DURATION, output_option
from collectionstore_local.commands import lifecycle
from collectionstore_local.commands.options import ByteRate, cluster_options
from collectionstore_local.faults import injection
from collectionstore_local.faults.link_faults import ALL, LinkFault, Mode
from collectionstore_local.state.directory import ClusterDirectory, StateDirectory


@click.command()
@click.argument("member")
@click.argument("peers", nargs=-1, metavar="[PEER]...")
@click.option("--one-way", is_flag=True, help="Only requests from MEMBER to PEER, with their responses.")
@click.option("--delay", "delay_s", type=SHORT_DURATION, metavar="TIME", help="Delay in each direction: 100ms.")
@click.option("--slow", "bytes_per_s", type=ByteRate(), metavar="RATE", help="Limit in bytes per second: 20K.")
@click.option("--corrupt", is_flag=True, help="Flip single bits, about one in 8 KiB.")
@click.option("--reset", is_flag=True, help="Reset connections, including new ones.")
@output_option
@cluster_options
def partition(
    state: StateDirectory,
    directory: ClusterDirectory,
    member: str,
    peers: tuple[str, ...],
    delay_s: float | None,
    bytes_per_s: int | None,
    output: str,
    *,
    one_way: bool,
    corrupt: bool,
    reset: bool,
) -> None:
    """Partition a member from its peers, or degrade its links.

    Lasts until `heal`. Without PEER, applies to all other members. Bytes are dropped while connections stay open,
    unless --delay, --slow, --corrupt or --reset is set. Clients still reach every member.

    Each member opens connections to its peers for its own requests; responses return on the same connection. --one-way
    applies to the requests of MEMBER to PEER with their responses, and not to the requests of PEER to MEMBER.

    A later fault on the same link replaces the earlier one. `heal`, `down` and the next `up` end all faults.

    \b
    Examples:
      csctl local partition demo-0                     isolate demo-0 from all others
      csctl local partition demo-0 demo-1 --one-way    drop requests from demo-0 to demo-1
      csctl local partition demo-0 --delay 100ms       add latency to all links of demo-0
      csctl local partition 0 1 2 --corrupt            corrupt the links from demo-0 to demo-1 and demo-2
    """
    name = lifecycle.member_name(directory, member)
    others = tuple(dict.fromkeys(lifecycle.member_name(directory, peer) for peer in peers)) or (ALL,)
    if name in others:
        raise click.BadParameter(f"{name} cannot be partitioned from itself", param_hint="PEER")
    lifecycle.require_supervised(directory)
    fault = LinkFault(
        member=name,
        peer=ALL,
        mode=_mode(delay_s=delay_s, bytes_per_s=bytes_per_s, corrupt=corrupt, reset=reset),
        one_way=one_way,
        delay_s=delay_s or 0.0,
        bytes_per_s=bytes_per_s or 0,
        since=time.time(),
    )
    faults = tuple(msgspec.structs.replace(fault, peer=other) for other in others)
    print_faults(injection.inject(directory, faults), output)


@click.command()
@click.argument("member")
@click.option("--for", "duration_s", type=SHORT_DURATION, metavar="TIME", help="Resume after this time: 5s.")
@output_option
@cluster_options
def pause(
    state: StateDirectory, directory: ClusterDirectory, member: str, duration_s: float | None, output: str
) -> None:
    """Pause a member's process (SIGSTOP).

    Like a stalled machine, it keeps its connections open and does not respond. The member resumes after --for, or with
    `heal`. The reconcile loop does not restart it, since it has not ended.

    \b
    Examples:
      csctl local pause demo-1 --for 5s
      csctl local pause 1 && csctl local status && csctl local heal
    """
    name = lifecycle.member_name(directory, member)
    injection.pause(directory, name)
    if duration_s is None:
        print_faults(injection.active_faults(directory), output)
        return
    try:
        time.sleep(duration_s)
    finally:
        injection.resume(directory, name)
    if output == "json":
        click.echo(json.dumps({"member": name, "pausedSeconds": duration_s}))
    else:
        click.echo(f"{name} was paused for {duration_s:g} s")


@click.command()
@output_option
@cluster_options
def heal(state: StateDirectory, directory: ClusterDirectory, output: str) -> None:
    """End all faults: restore links and resume paused members."""
    ended = injection.heal(directory)
    if output == "json":
        click.echo(json.dumps({"ended": ended}, ensure_ascii=False))
        return
    for line in ended:
        click.echo(f"ended: {line}")
    if not ended:
        click.echo(f"{directory.name} has no faults.")


@click.command()
@click.argument("member")
@click.option("-s", "--signal", "name", default="KILL", show_default=True, help="Signal to send, such as TERM or STOP.")
@output_option
@cluster_options
def kill(state: StateDirectory, directory: ClusterDirectory, member: str, name: str, output: str) -> None:
    """Send a signal to a member's process, KILL by default. The reconcile loop restarts a member that ends."""
    try:
        number = signal.Signals[f"SIG{name.upper().removeprefix('SIG')}"]
    except KeyError:
        raise click.BadParameter(f"unknown signal {name}", param_hint="--signal") from None
    pid = lifecycle.kill(directory, member, number)
    target = lifecycle.member_name(directory, member)
    if output == "json":
        click.echo(json.dumps({"member": target, "signal": number.name, "pid": pid}))
    else:
        click.echo(f"sent {number.name} to {target}, process {pid}")


COMMANDS = (partition, pause, kill, heal)


def print_faults(active: injection.ActiveFaults, output: str) -> None:
    """Print the faults in force."""
    if output == "json":
        links = [msgspec.to_builtins(link) for link in active.links]
        click.echo(json.dumps({"links": links, "paused": active.paused, "orphaned": active.orphaned}, indent=2))
        return
    for line in active.lines():
        click.echo(line)
    click.echo("End all faults: csctl local heal")


def _mode(*, delay_s: float | None, bytes_per_s: int | None, corrupt: bool, reset: bool) -> Mode:
    values = {Mode.DELAY: delay_s, Mode.SLOW: bytes_per_s, Mode.CORRUPT: corrupt, Mode.RESET: reset}
    modes: Sequence[Mode] = [mode for mode, value in values.items() if value]
    if len(modes) > 1:
        raise click.UsageError("--delay, --slow, --corrupt and --reset exclude each other")
    return modes[0] if modes else Mode.DROP
