"""csctl completion: the script that makes a shell complete csctl."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from collectionstore.cli import streams
from collectionstore.data.options import DataCommand

SHELLS = ("bash", "zsh", "fish")


@click.command("completion", cls=DataCommand, short_help="Print the completion script of a shell.")
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that makes a shell complete commands, options, and names of contexts, collections and indexes.

    \b
    For good:
      bash:  csctl completion bash > ~/.local/share/bash-completion/completions/csctl
      zsh:   csctl completion zsh > ~/.zfunc/_csctl          (with ~/.zfunc in fpath)
      fish:  csctl completion fish > ~/.config/fish/completions/csctl.fish
    Now:     eval "$(csctl completion bash)"
    """
    root = context.find_root()
    if (root.info_name or "").startswith("kubectl"):
        raise click.UsageError("kubectl completes its plugins by programs of its own; this is for csctl")
    made = get_completion_class(shell)
    if made is None:
        raise click.UsageError(f"there is no completion for {shell}")
    streams.write(made(root.command, {}, "csctl", "_CSCTL_COMPLETE").source())
