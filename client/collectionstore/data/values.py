"""csctl kv: values, which are bytes under a key in a bucket."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from collectionstore.cli import streams
from collectionstore.cli.asking import confirm
from collectionstore.cli.commands import Group
from collectionstore.data.arguments import ArgumentInvalid
from collectionstore.data.options import DataCommand, connection_options, dry_run_option, ttl_option, yes_option
from collectionstore.data.output import Output, output_options
from collectionstore.data.requests import segment, value_path
from collectionstore.data.session import Session
from collectionstore.data.store import Store
from collectionstore.wire.requests import Request, condition

VALUE_BYTES_MAX = 1 << 20


@click.group("kv", cls=Group, short_help="Values: bytes under a key in a bucket.")
def kv_group() -> None:
    """Read and write values: bytes under a key in a bucket.

    \b
    Examples:
      csctl kv put settings motd 'be kind'
      csctl kv put settings logo @logo.png --type image/png
      csctl kv get settings logo > logo.png
      csctl kv list settings
    """


@kv_group.command("get", cls=DataCommand)
@click.argument("bucket")
@click.argument("key")
@click.option("--stale", is_flag=True, help="From the nearest member, without asking a quorum.")
@connection_options
def get(bucket: str, key: str, session: Session, *, stale: bool) -> None:
    """Write a value to stdout, byte by byte. On a terminal, control characters are replaced."""
    request = Request("GET", value_path(bucket, key))
    if stale:
        request.parameters["consistency"] = "stale"
    answer = session.run(lambda store: store.send(request), f"cannot read {bucket}/{key}")
    value = answer.value or b""
    if streams.is_terminal(sys.stdout):
        streams.write(_shown(value.decode(errors="replace")))
        if not value.endswith(b"\n"):
            streams.write("\n")
        return
    streams.write_bytes(value)


@kv_group.command("put", cls=DataCommand)
@click.argument("bucket")
@click.argument("key")
@click.argument("value")
@click.option(
    "--type", "content_type", default="", metavar="TYPE", help="Content type. [default: text/plain, or octets]"
)
@click.option("--if-absent", is_flag=True, help="Only if there is no such key.")
@click.option("--if-revision", type=click.IntRange(min=1), metavar="N", help="Only if it is of this revision.")
@ttl_option
@output_options
@connection_options
def put(
    bucket: str,
    key: str,
    value: str,
    content_type: str,
    if_revision: int | None,
    ttl: str | None,
    session: Session,
    out: Output,
    *,
    if_absent: bool,
) -> None:
    """Create or replace a value: a text, @FILE, or - for stdin."""
    if if_absent and if_revision is not None:
        raise click.UsageError("--if-absent excludes --if-revision")
    content = _content(value)
    request = Request("PUT", value_path(bucket, key), body=content, writes=True)
    request.headers["Content-Type"] = content_type or (
        "application/octet-stream" if value == "-" or value.startswith("@") else "text/plain; charset=utf-8"
    )
    if if_absent:
        condition(request, if_exists=False)
    elif if_revision is not None:
        condition(request, if_revision)
    if ttl:
        request.parameters["ttl"] = ttl
    answer = session.run(lambda store: store.send(request), f"cannot write {bucket}/{key}")
    verb = "created" if answer.status == 201 else "replaced"
    out.result(
        {"key": key, "revision": answer.revision, "size": len(content)},
        f"{bucket}/{key} {verb} at revision {answer.revision}, {len(content)} bytes",
    )


@kv_group.command("list", cls=DataCommand)
@click.argument("bucket")
@click.argument("prefix", default="")
@click.option("-l", "--limit", type=click.IntRange(min=1), help="How many at most. [default: all]")
@output_options
@connection_options
def list_keys(bucket: str, prefix: str, limit: int | None, session: Session, out: Output) -> None:
    """List the keys of a bucket, those that begin with PREFIX."""
    found = session.run(
        lambda store: store.pages(f"/kv/{segment(bucket)}", "keys", prefix=prefix, limit=limit),
        f"cannot list {bucket}",
    )
    titles = {"key": "KEY", "revision": "REVISION", "size": "BYTES", "content_type": "TYPE"}
    out.rows(found, titles=titles, empty=f"{bucket} has no keys{f' that begin with {prefix}' if prefix else ''}.")


@kv_group.command("delete", cls=DataCommand)
@click.argument("bucket")
@click.argument("keys", nargs=-1, metavar="[KEY]...")
@click.option("--prefix", metavar="TEXT", help="All keys that begin so; you are asked first.")
@dry_run_option
@yes_option
@output_options
@connection_options
def delete(
    bucket: str,
    keys: tuple[str, ...],
    prefix: str | None,
    session: Session,
    out: Output,
    *,
    dry_run: bool,
    yes: bool,
) -> None:
    """Delete values by their keys, or all whose key begins with --prefix."""
    if bool(keys) == (prefix is not None):
        raise click.UsageError("name keys, or --prefix")
    chosen = list(keys)
    if prefix is not None:
        found = session.run(
            lambda store: store.pages(f"/kv/{segment(bucket)}", "keys", prefix=prefix), f"cannot list {bucket}"
        )
        chosen = [str(one["key"]) for one in found]
    what = f"{len(chosen)} {'value' if len(chosen) == 1 else 'values'} of {bucket}"
    if dry_run:
        out.result({"keys": chosen, "deleted": 0}, f"{what} would be deleted. Nothing was changed.")
        return
    if prefix is not None and chosen:
        confirm(f"Delete {what}?", yes=yes)

    async def work(store: Store) -> None:
        for key in chosen:
            await store.send(Request("DELETE", value_path(bucket, key), writes=True))

    session.run(work, f"cannot delete from {bucket}")
    out.result({"keys": chosen, "deleted": len(chosen)}, f"{what} deleted")


def _content(value: str) -> bytes:
    if value == "-":
        if sys.stdin is None or sys.stdin.closed:
            raise ArgumentInvalid("- is stdin, which is closed")
        content = sys.stdin.buffer.read(VALUE_BYTES_MAX + 1)
    elif value.startswith("@") and len(value) > 1:
        with Path(value[1:]).open("rb") as file:
            content = file.read(VALUE_BYTES_MAX + 1)
    else:
        content = value.encode(errors="surrogateescape")
    if len(content) > VALUE_BYTES_MAX:
        raise ArgumentInvalid("a value has at most 1 MiB; larger ones: the Python client's chunked values")
    return content


def _shown(text: str) -> str:
    return "".join(one if one in "\n\t" or one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)
