"""The commands of `collectionstore-backup`, and what becomes of their errors."""

from __future__ import annotations

from typing import Any, Final

import click

from collectionstore_node import __version__
from collectionstore_node.backup.commands import keeping, reading, restoring
from collectionstore_node.backup.program import failure, reason_of
from collectionstore_node.backup.results import record_failure

HELP: Final = """Back up a Collection Store cluster, and restore it as a new one.

A repository is a URL: s3://bucket/path, gs://bucket/path, az://container/path, or a directory. Credentials come
from the environment, by the names that the provider's own tools use, such as AWS_ACCESS_KEY_ID.

\b
Examples:
  collectionstore-backup create --repository s3://backups/shop --endpoint http://127.0.0.1:7400
  collectionstore-backup list --repository s3://backups/shop
  collectionstore-backup verify latest --repository s3://backups/shop
  collectionstore-backup prune --repository s3://backups/shop --keep-last 7 --keep-within 30d
  collectionstore-backup restore latest --repository s3://backups/shop --data-dir /data \\
      --cluster-id shop-2 --name shop-2-0 --peer-address 127.0.0.1:7411 --client-address http://127.0.0.1:7410

\b
Exit codes:
  0 done                      6 the deadline passed
  1 failed, or is full        7 refused: it would destroy or mix data
  2 wrong usage               8 corrupt: not what was written
  5 no such backup            9 credentials or key are not accepted
                              10 the cluster or the repository does not answer
"""


class Group(click.Group):
    """Turns what goes wrong into a message and the exit code of its kind."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.ClickException:
            raise
        except Exception as error:
            explained = failure(error)
            if explained is None:
                raise
            code, text = explained
            record_failure(reason_of(error), text, code)
            raise _Failure(code, text) from error


class _Failure(click.ClickException):
    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self._code = int(code)

    @property
    def exit_code(self) -> int:  # type: ignore[override]  # click has a class variable here
        return self._code


@click.group(cls=Group, help=HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="collectionstore-backup")
def main() -> None:
    """Run the group; the commands do the work."""


for one in (*reading.COMMANDS, *keeping.COMMANDS, *restoring.COMMANDS):
    main.add_command(one)
