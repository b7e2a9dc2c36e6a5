"""Where the options of a client are found: the environment, a mounted Secret, the state folder of a local cluster."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from collectionstore.errors import ConfigurationError
from collectionstore.settings.options import Options, Tls
from collectionstore.settings.urls import parse_url, with_overrides

URL_VARIABLE: Final = "COLLECTIONSTORE_URL"
SECRET_VARIABLE: Final = "COLLECTIONSTORE_SECRET"
STATE_VARIABLE: Final = "COLLECTIONSTORE_STATE_DIR"
STATE_FOLDER: Final = ".collectionstore"
_SECRET_BYTES_MAX: Final = 64 << 10


def from_environment(environment: Mapping[str, str] | None = None, **overrides: Any) -> Options:
    """Return the options that the environment describes.

    `COLLECTIONSTORE_URL` is a connection string; else `COLLECTIONSTORE_SECRET` is the folder of a mounted Secret; else
    it is the only local cluster in `COLLECTIONSTORE_STATE_DIR`, or `.collectionstore` here; else 127.0.0.1:7400.
    Raises ConfigurationError.
    """
    variables = os.environ if environment is None else environment
    if url := variables.get(URL_VARIABLE):
        return parse_url(url, **overrides)
    if secret := variables.get(SECRET_VARIABLE):
        return from_secret(Path(secret), **overrides)
    state = Path(variables.get(STATE_VARIABLE) or STATE_FOLDER)
    if len(_local_clusters(state)) == 1:
        return from_local(state_dir=state, **overrides)
    return with_overrides(Options(), overrides)


def from_secret(folder: Path, **overrides: Any) -> Options:
    """Return the options of a Secret that is mounted as a folder: a file for each of its keys.

    `uri` (or `url`) is the connection string. Where they are there, `ca.crt`, `tls.crt` with `tls.key`, `token`, and
    `username` with `password` come before what is in it. A `token` is read again once it is refused, as Secrets rotate.
    Raises ConfigurationError.
    """
    url = _file(folder / "uri") or _file(folder / "url")
    if url is None:
        raise ConfigurationError(f"{folder} has no file uri with a connection string")
    found: dict[str, Any] = {}
    if (folder / "token").is_file():
        found["token_file"] = folder / "token"
    elif (user := _file(folder / "username")) and (password := _file(folder / "password")):
        found |= {"user": user, "password": password}
    if {"token", "token_file", "user", "password", "get_token"} & set(overrides):
        found = {}
    options = parse_url(url, **found, **overrides)
    if options.tls is None or "tls" in overrides:
        return options
    tls = Tls(
        authority=_present(folder / "ca.crt") or options.tls.authority,
        certificate=_present(folder / "tls.crt") or options.tls.certificate,
        key=_present(folder / "tls.key") or options.tls.key,
        verify=options.tls.verify,
    )
    return with_overrides(options, {"tls": tls})


def from_local(name: str | None = None, *, state_dir: Path | str | None = None, **overrides: Any) -> Options:
    """Return the options of a cluster that `csctl local` runs, from its state folder; `name` if there are several.

    Raises ConfigurationError if there is no such cluster, or none of its members was started.
    """
    state = Path(state_dir or os.environ.get(STATE_VARIABLE) or STATE_FOLDER)
    clusters = _local_clusters(state)
    if name is None and len(clusters) != 1:
        shown = ", ".join(sorted(clusters)) or "none"
        raise ConfigurationError(f"{state} has not one local cluster but {shown}: name one")
    cluster = clusters.get(name or next(iter(clusters)))
    if cluster is None:
        raise ConfigurationError(f"{state} has no local cluster of that name; it has {', '.join(sorted(clusters))}")
    seeds = []
    for record in sorted(cluster.glob("nodes/*/process.json")):
        launch = _launch(record)
        if launch is not None:
            seeds.append(launch)
    if not seeds:
        raise ConfigurationError(f"no member of {cluster.name} was started: csctl local up")
    given: dict[str, Any] = {"seeds": tuple(seeds)}
    if any(seed.startswith("https://") for seed in seeds):
        # The operator's certificate of this cluster, which only its owner can read.
        given["tls"] = Tls(
            authority=_present(cluster / "operator" / "ca.crt"),
            certificate=_present(cluster / "operator" / "tls.crt"),
            key=_present(cluster / "operator" / "tls.key"),
        )
    elif (cluster / "admin.token").is_file():
        given["token_file"] = cluster / "admin.token"
    if {"token", "token_file", "user", "password", "get_token"} & set(overrides):
        given.pop("token_file", None)
    return with_overrides(Options(), {**given, **overrides})


def _local_clusters(state: Path) -> dict[str, Path]:
    try:
        return {one.name: one for one in state.iterdir() if (one / "nodes").is_dir()}
    except OSError:
        return {}


def _launch(record: Path) -> str | None:
    """Return the URL of a member from its record, which says how it was started."""
    try:
        settings = msgspec.json.decode(record.read_bytes())["launch"]["settings"]
    except (OSError, msgspec.DecodeError, KeyError, TypeError):
        return None
    for name in ("COLLECTIONSTORE_CLIENT_ADVERTISE", "CLIENT_ADVERTISE"):
        if isinstance(url := settings.get(name), str):
            return url
    return None


def _file(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            content = file.read(_SECRET_BYTES_MAX + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {type(error).__name__}") from None
    if len(content) > _SECRET_BYTES_MAX:
        raise ConfigurationError(f"{path} is larger than {_SECRET_BYTES_MAX} bytes")
    try:
        return content.decode().strip() or None
    except UnicodeDecodeError:
        raise ConfigurationError(f"{path} is not UTF-8") from None


def _present(path: Path) -> Path | None:
    return path if path.is_file() else None
