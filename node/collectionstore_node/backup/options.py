"""The options that several commands have, and what they mean."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import click

from collectionstore_node.backup.create import Run
from collectionstore_node.backup.errors import InvalidUse
from collectionstore_node.backup.manifest import ID, TIME
from collectionstore_node.backup.repository import Repository
from collectionstore_node.backup.sealing import parse_key
from collectionstore_node.backup.selection import Target
from collectionstore_node.backup.source import Access, Source

_UNITS: Final = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
SECRET_OPTION: Final = re.compile(
    r"secret|token|password|bearer|credential|(^|_)sas(_|$)|key(_base64)?$|^access_?key", re.IGNORECASE
)
NO_SECRET: Final = ("_file", "_path", "_uri", "_enabled", "access_key_id")
F = TypeVar("F", bound=Callable[..., Any])


class Duration(click.ParamType[float]):
    """A duration such as 30s, 10m, 24h or 7d, in seconds."""

    name = "duration"

    def __init__(self, min_s: float = 0.0) -> None:
        self._min_s = min_s

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        found = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,3})?)([smhd])", str(value))
        if found is None:
            self.fail(f"{value!r}; allowed: a number and s, m, h or d, such as 30d", param, ctx)
        seconds = float(found[1]) * _UNITS[found[2]]
        if seconds < self._min_s:
            self.fail(f"{value!r}; allowed: {self._min_s:g}s or more", param, ctx)
        return seconds


def repository_options(command: F) -> F:
    """Add the options of every command."""
    for option in (
        click.option(
            "--repository",
            "url",
            required=True,
            metavar="URL",
            envvar="COLLECTIONSTORE_BACKUP_REPOSITORY",
            show_envvar=True,
            help="Where the backups are.",
        ),
        click.option(
            "--option",
            "options",
            multiple=True,
            metavar="NAME=VALUE",
            help="A setting of the object store, such as endpoint=https://minio:9000 or region=eu-west-1; repeatable.",
        ),
        click.option("-o", "--output", "form", type=click.Choice(["text", "json"]), default="text", show_default=True),
        click.option("-q", "--quiet", is_flag=True, help="Show no progress."),
    ):
        command = option(command)
    return command


def deadline_option(default: str) -> Callable[[F], F]:
    """Return the option of a command's deadline."""
    return click.option(
        "--deadline",
        "deadline_s",
        type=Duration(),
        default=default,
        show_default=True,
        help="The command fails when it takes longer.",
    )


key_option = click.option(
    "--key-file",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="COLLECTIONSTORE_BACKUP_KEY_FILE",
    show_envvar=True,
    help="File with the key, 64 hexadecimal digits: the backups are encrypted with it.",
)


source_cluster_option = click.option(
    "--source-cluster",
    metavar="ID",
    help="The cluster that the backup is of: needed for `latest`, a revision or a time if the repository has several.",
)


expected_cluster_option = click.option(
    "--cluster-id",
    "expected",
    metavar="ID",
    envvar="COLLECTIONSTORE_BACKUP_CLUSTER_ID",
    help="Refuse to read a cluster of another ID.",
)


def _path_option(name: str, text: str) -> Callable[[F], F]:
    variable = f"COLLECTIONSTORE_BACKUP_{name.strip('-').replace('-', '_').upper()}"
    return click.option(name, type=click.Path(path_type=Path, dir_okay=False), envvar=variable, help=text)


def source_options(command: F) -> F:
    """Add the options that say which cluster is read, and as whom."""
    for option in (
        click.option(
            "--endpoint",
            "endpoints",
            multiple=True,
            required=True,
            metavar="URL",
            envvar="COLLECTIONSTORE_BACKUP_ENDPOINTS",
            show_envvar=True,
            help="Client URL of a member; repeatable. The other members are found through it. NAME=URL asks for it, "
            "and verifies it, by that name: for one that is reached by its address.",
        ),
        _path_option("--token-file", "File with the admin token, for a cluster without client TLS."),
        _path_option("--ca-file", "Certificates of the authority that signed those of the members."),
        _path_option("--cert-file", "The operator's client certificate."),
        _path_option("--cert-key-file", "Its private key."),
        click.option(
            "--member-names",
            is_flag=True,
            envvar="COLLECTIONSTORE_BACKUP_MEMBER_NAMES",
            help="Ask for each member, and verify it, by the first label of its host: by that name it shows the "
            "certificate of the cluster, also if clients get another one. Needs --ca-file. An address has no "
            "name, unless another member tells it: --endpoint NAME=URL.",
        ),
    ):
        command = option(command)
    return command


class Connection(NamedTuple):
    """What a command reads, where it stores, and how it prints."""

    source: Source
    repository: Repository
    key: bytes | None
    as_json: bool
    quiet: bool


def connection_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a command that reads a cluster into a repository, which it gets as one `connection`."""

    @functools.wraps(command)
    def connected(
        *,
        endpoints: tuple[str, ...],
        token_file: Path | None,
        ca_file: Path | None,
        cert_file: Path | None,
        cert_key_file: Path | None,
        member_names: bool,
        url: str,
        options: tuple[str, ...],
        form: str,
        key_file: Path | None,
        quiet: bool,
        **further: Any,
    ) -> Any:
        access = Access(token_file, ca_file, cert_file, cert_key_file, member_names)
        repository, key = open_repository(url, options), read_key(key_file)
        source = Source(endpoints, access)
        return command(connection=Connection(source, repository, key, form == "json", quiet), **further)

    return source_options(repository_options(key_option(connected)))


def parse_run(text: str) -> Run:
    """Return which run is meant by a time and a number. Raises `InvalidUse`."""
    if not ID.fullmatch(text):
        raise InvalidUse(f"--run is {text!r}; allowed: a time and 8 hexadecimal digits: 20260102T030405Z-0123abcd")
    since, _, number = text.partition("-")
    return Run(since, number)


def parse_point(goal: str) -> Target:
    """Return where a replay ends. Raises `InvalidUse`."""
    if goal == "end":
        return Target()
    if found := re.fullmatch(r"revision:([0-9]{1,18})", goal):
        return Target(revision=int(found[1]))
    try:
        time = datetime.strptime(goal, TIME).replace(tzinfo=UTC)
    except ValueError:
        raise InvalidUse(
            f"--to is {goal!r}; allowed: end, revision:N, or a time such as 2026-01-02T03:04:05Z"
        ) from None
    return Target(time_ms=int(time.timestamp() * 1000) + 999)  # the whole second


def open_repository(url: str, options: tuple[str, ...], *, create: bool = True) -> Repository:
    """Return the repository of the options. Raises `InvalidUse`, and `NotFound` if it is not to be created."""
    given = {}
    for one in options:
        name, separator, value = one.partition("=")
        if not separator or not name:
            raise InvalidUse("--option takes NAME=VALUE, such as endpoint=https://minio:9000")
        if SECRET_OPTION.search(name) and not name.lower().endswith(NO_SECRET):
            # Every user of the machine sees the arguments of a process.
            raise InvalidUse(
                f"--option {name} would show a secret to every user of this machine: give it in the environment, such "
                "as AWS_SECRET_ACCESS_KEY or AZURE_STORAGE_ACCOUNT_KEY, or in a file that the provider's tools read"
            )
        if re.search(r"://[^/]*@", value):
            raise InvalidUse(f"--option {name} is a URL with a user: credentials come from the environment")
        given[name] = value
    return Repository(url, given, create=create)


def read_key(path: Path | None) -> bytes | None:
    """Return the key in a file, None without one. Raises `InvalidUse`."""
    if path is None:
        return None
    try:
        return parse_key(path.read_bytes(), f"--key-file {path}")
    except OSError as error:
        raise InvalidUse(f"--key-file {path}: {error.strerror}") from None
