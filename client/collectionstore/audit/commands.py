"""`csctl audit`: what can be done with the audit logs of members."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path

import click

from collectionstore.audit.verification import Anchor, Report, parse_anchor, verify
from collectionstore.cli.commands import Group
from collectionstore.cli.exit_codes import CommandError
from collectionstore.cli.options import output_option


class LogNotSound(CommandError):
    """An audit log is not as its member has written it."""


class AnchorType(click.ParamType[Anchor]):
    """SEQUENCE:HASH."""

    name = "anchor"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Anchor:
        if isinstance(value, Anchor):
            return value
        try:
            return parse_anchor(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


@click.group("audit", cls=Group, short_help="Check the audit logs of members.")
def audit() -> None:
    """Check the audit logs of members."""


@audit.command("verify", short_help="Check that no record was changed, left out or put elsewhere.")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--anchor",
    "anchors",
    type=AnchorType(),
    multiple=True,
    metavar="SEQUENCE:HASH",
    help="A record that is known from elsewhere, such as a member's status or its log. May be given again.",
)
@output_option
def verify_files(files: tuple[Path, ...], anchors: tuple[Anchor, ...], output: str) -> None:
    """Check the FILES of one member's audit log, all that there are, in any order.

    \b
    csctl audit verify /var/log/collectionstore/audit-*.ndjson
    csctl audit verify --anchor 17:9f86d0... audit-00000001.ndjson

    Says for each file and line what is not as it was written. An end that was cut off is found only by a file that
    follows, or by an anchor.
    """
    with ExitStack() as stack:
        report = verify([(str(path), stack.enter_context(path.open("rb"))) for path in files], anchors)
    if output == "json":
        shown = {**vars(report), "sound": report.sound, "problems": [one._asdict() for one in report.problems]}
        click.echo(json.dumps(shown, indent=2))
    else:
        _show(report)
    if not report.sound:
        raise LogNotSound(f"{len(report.problems) + report.more} problems: the log is not as it was written")


def _show(report: Report) -> None:
    for one in report.problems:
        place = f"{one.file}:{one.line}: " if one.line else (f"{one.file}: " if one.file else "")
        click.echo(f"{place}{one.kind}: {one.detail}")
    if report.more:
        click.echo(f"... and {report.more} more")
    span = f"records {report.first} to {report.last}" if report.records else "no records"
    lost = f"; the member has lost {report.dropped} records and says so" if report.dropped else ""
    click.echo(f"{report.files} files, {span}{lost}")
    if report.sound and report.records:
        click.echo(f"sound; anchor of the last record: {report.last}:{report.hash}")
