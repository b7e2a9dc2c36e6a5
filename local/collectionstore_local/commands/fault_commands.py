"""`csctl local partition`, `pause`, `kill` and `heal`: faults for everybody, to see what a cluster does about them."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Sequence

import click
import msgspec

from collectionstore_local.commands import lifecycle
from collectionstore_local.commands.options import ByteRate, Duration, cluster_options, output_option
from collectionstore_local.faults import injection
from collectionstore_local.faults.link_faults import ALL, LinkFault, Mode
from collectionstore_local.state.directory import ClusterDirectory, StateDirectory


@click.command()
@click.argument("member")
@click.argument("peers", nargs=-1, metavar="[PEER]...")
@click.option("--one-way", is_flag=True, help="Only from MEMBER to PEER: what it sends, with the answers to that.")
@click.option("--delay", "delay_s", type=Duration(), metavar="TIME", help="Delay bytes by so much, each way: 100ms.")
@click.option("--slow", "bytes_per_s", type=ByteRate(), metavar="RATE", help="Let so many bytes a second pass: 20K.")
@click.option("--corrupt", is_flag=True, help="Flip a bit here and there, about one in 8 KiB.")
@click.option("--reset", is_flag=True, help="Reset connections, and every new one.")
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
    """Cut a member off from others, or make the links between them bad, until `heal`.

    Without PEER, from all others. Bytes vanish while connections stay open, unless --delay, --slow, --corrupt or
    --reset says otherwise. Clients reach every member all the time.

    Each member dials the others for what it sends; answers come back on the same connection. --one-way breaks what
    MEMBER sends to PEER, requests with their answers, and leaves what PEER sends by itself, with the answers to that.

    A later fault on the same link replaces the earlier one. `heal`, `down` and the next `up` end all of them.

    \b
    Examples:
      csctl local partition demo-0                     nobody hears demo-0, and it hears nobody
      csctl local partition demo-0 demo-1 --one-way    demo-1 does not hear demo-0
      csctl local partition demo-0 --delay 100ms       demo-0 is far away
      csctl local partition 0 1 2 --corrupt            the cables of demo-0 are bad
    """
    name = lifecycle.full_name(directory, member)
    others = tuple(dict.fromkeys(lifecycle.full_name(directory, peer) for peer in peers)) or (ALL,)
    if name in others:
        raise click.BadParameter(f"{name} cannot be cut off from itself", param_hint="PEER")
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
    tell(injection.strain(directory, faults), output)


@click.command()
@click.argument("member")
@click.option("--for", "duration_s", type=Duration(), metavar="TIME", help="Let it go on after that: 5s.")
@output_option
@cluster_options
def pause(
    state: StateDirectory, directory: ClusterDirectory, member: str, duration_s: float | None, output: str
) -> None:
    """Hold a member's process (SIGSTOP), as a stalled machine does: its connections stay open, nothing answers.

    It goes on after --for, or with `heal`. The reconcile loop does not restart it: it has not ended.

    \b
    Examples:
      csctl local pause demo-1 --for 5s
      csctl local pause 1 && csctl local status && csctl local heal
    """
    name = lifecycle.full_name(directory, member)
    injection.pause(directory, name)
    if duration_s is None:
        tell(injection.active(directory), output)
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
    """End every fault: links are whole again, paused members go on."""
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
@click.option("-s", "--signal", "name", default="KILL", show_default=True, help="Which signal, such as TERM or STOP.")
@output_option
@cluster_options
def kill(state: StateDirectory, directory: ClusterDirectory, member: str, name: str, output: str) -> None:
    """Send a signal to a member's process, to see what happens. The reconcile loop starts it again."""
    try:
        number = signal.Signals[f"SIG{name.upper().removeprefix('SIG')}"]
    except KeyError:
        raise click.BadParameter(f"no signal is called {name}", param_hint="--signal") from None
    pid = lifecycle.kill(directory, member, number)
    full = lifecycle.full_name(directory, member)
    if output == "json":
        click.echo(json.dumps({"member": full, "signal": number.name, "pid": pid}))
    else:
        click.echo(f"sent {number.name} to {full}, process {pid}")


COMMANDS = (partition, pause, kill, heal)


def tell(active: injection.Active, output: str) -> None:
    """Print the faults in force."""
    if output == "json":
        links = [msgspec.to_builtins(link) for link in active.links]
        click.echo(json.dumps({"links": links, "paused": active.paused, "orphaned": active.orphaned}, indent=2))
        return
    for line in active.lines():
        click.echo(line)
    click.echo("End it all: csctl local heal")


def _mode(*, delay_s: float | None, bytes_per_s: int | None, corrupt: bool, reset: bool) -> Mode:
    asked = {Mode.DELAY: delay_s, Mode.SLOW: bytes_per_s, Mode.CORRUPT: corrupt, Mode.RESET: reset}
    modes: Sequence[Mode] = [mode for mode, value in asked.items() if value]
    if len(modes) > 1:
        raise click.UsageError("one of --delay, --slow, --corrupt and --reset at a time")
    return modes[0] if modes else Mode.DROP
