"""From what a command was told to the options of a client: a URL, a context, a cluster here or on Kubernetes."""

from __future__ import annotations

import base64
import binascii
import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from collectionstore.cli.exit_codes import CommandError, ExitCode
from collectionstore.contexts import file
from collectionstore.contexts.file import Context, KubernetesCluster, LocalCluster
from collectionstore.contexts.forwarding import HOST, Duplex, forwarded
from collectionstore.errors import ConfigurationError
from collectionstore.kubernetes import names
from collectionstore.kubernetes.api_server import ApiError, ApiServer, Object, connect, find_kubeconfig
from collectionstore.settings.credentials import Credentials
from collectionstore.settings.options import Options, Tls
from collectionstore.settings.sources import URL_VARIABLE, from_local, from_secret
from collectionstore.settings.urls import parse_url, with_overrides

CONTEXT_VARIABLE: Final = "COLLECTIONSTORE_CONTEXT"
SECRET_FILES: Final = ("uri", "url", "username", "password", "token", "ca.crt", "tls.crt", "tls.key")


class TargetMissing(CommandError):
    """There is no cluster that the command could be about; the text says how to name one."""

    exit_code = ExitCode.NOT_FOUND


class LoginEnded(CommandError):
    """The token of a login has ended."""

    exit_code = ExitCode.UNAUTHORIZED


class TargetInvalid(CommandError):
    """The connection string, or the options of a context, are wrong; the text says what is allowed."""

    exit_code = ExitCode.USAGE


@dataclass(frozen=True, slots=True)
class Choice:
    """What the options of a command say; all empty: the environment, the current context, a local cluster."""

    url: str = ""
    context: str = ""
    cluster: str = ""
    kubernetes: bool = False
    namespace: str = ""
    kube_context: str = ""
    kubeconfig: str = ""
    local: bool = False
    state_dir: Path = Path(".collectionstore")

    @property
    def given(self) -> bool:
        """Whether the command says where its cluster is."""
        return bool(
            self.url
            or self.context
            or self.cluster
            or self.kubernetes
            or self.namespace
            or self.kube_context
            or self.kubeconfig
            or self.local
        )


@dataclass(frozen=True, slots=True)
class Target:
    """Where a command goes: the name of its context, empty without one, and what the context holds."""

    name: str
    context: Context

    @property
    def place(self) -> str:
        """Where it is, for people; without credentials."""
        return f"context {self.name}: {self.context.place}" if self.name else self.context.place


def target(choice: Choice) -> Target:
    """Return what a command is about: its options first, then the environment, the file, and a cluster of this folder.

    Raises TargetMissing, ContextMissing, ContextsInvalid.
    """
    if choice.url:
        return Target("", Context(url=choice.url))
    if choice.kubernetes:
        on = KubernetesCluster(choice.cluster, choice.namespace, choice.kube_context, choice.kubeconfig)
        return Target("", Context(kubernetes=on))
    if choice.local or choice.cluster:
        return Target("", Context(local=LocalCluster(str(choice.state_dir.absolute()), choice.cluster)))
    if choice.context:
        return Target(choice.context, file.read().context(choice.context))
    if url := os.environ.get(URL_VARIABLE):
        return Target("", Context(url=url))
    contexts = file.read()
    if current := os.environ.get(CONTEXT_VARIABLE) or contexts.current:
        return Target(current, contexts.context(current))
    if choice.state_dir.is_dir():
        return Target("", Context(local=LocalCluster(str(choice.state_dir.absolute()))))
    raise TargetMissing(
        "no cluster is named. Name one: --url URL, -k --cluster NAME on Kubernetes, or for good\n"
        "  csctl context set NAME --url URL    (then it is the current one)\n"
        "or start one on this machine: csctl local up -f FILE"
    )


class Way(NamedTuple):
    """The options of a client, and what to say of the way to the cluster when no member can be reached."""

    options: Options
    trouble: Callable[[], str] = str


@contextlib.contextmanager
def opened(found: Target, *, anonymous: bool = False, **overrides: Any) -> Iterator[Way]:
    """Yield the way to a cluster; a port-forward and files that it needs are there until the block ends.

    `anonymous`: without credentials. Raises TargetInvalid, LoginEnded, or another CommandError of Kubernetes.
    """
    context = found.context
    if anonymous:
        context = replace(context, user="", password="", token="", token_file="", token_expires=None)
        overrides["credentials"] = Credentials()
    elif context.token and context.token_expires is not None and context.token_expires <= time.time():
        raise LoginEnded(f"the login of the context {found.name} has ended: csctl login")
    try:
        if context.kubernetes is not None:
            with _on_kubernetes(context, overrides) as way:
                yield way
            return
        if context.local is not None:
            options = from_local(
                context.local.cluster or None, state_dir=context.local.state_dir, **_credentials(context), **overrides
            )
        else:
            options = _tls(parse_url(context.url, **_credentials(context), **overrides), context)
    except ConfigurationError as error:
        raise TargetInvalid(f"{found.place}: {error}") from error
    yield Way(options)


def _credentials(context: Context) -> dict[str, Any]:
    if context.token:
        return {"token": context.token}
    if context.token_file:
        return {"token_file": context.token_file}
    return {"user": context.user, "password": context.password} if context.password else {}


def _tls(options: Options, context: Context) -> Options:
    if options.tls is None or not (context.ca or context.certificate):
        return options
    tls = Tls(
        authority=Path(context.ca) if context.ca else options.tls.authority,
        certificate=Path(context.certificate) if context.certificate else options.tls.certificate,
        key=Path(context.key) if context.key else options.tls.key,
        verify=options.tls.verify,
    )
    return with_overrides(options, {"tls": tls})


@contextlib.contextmanager
def _on_kubernetes(context: Context, overrides: dict[str, Any]) -> Iterator[Way]:
    on = context.kubernetes
    assert on is not None
    with (
        connect(find_kubeconfig(on.kubeconfig or None), context=on.context or None) as server,
        tempfile.TemporaryDirectory(prefix="csctl-") as folder,
    ):
        namespace = on.namespace or server.namespace
        resource = _read(server, names.CLUSTERS, namespace, on.cluster or _only(server, namespace))
        name = str(resource["metadata"]["name"])
        secure = ((resource.get("spec") or {}).get("tls") or {}).get("client", "Required") != "Disabled"
        credentials = _write_secret(server, namespace, on.secret, Path(folder)) if on.secret else None
        if secure and not (Path(folder) / "ca.crt").exists():
            _write_authority(server, namespace, name, Path(folder))
        pods = _pods(resource)
        with forwarded(lambda: _dial(server, namespace, pods)) as forward:
            url = f"{'https' if secure else 'http'}://{HOST}:{forward.port}"
            # Other members have addresses that exist inside of Kubernetes alone; through one of them all is reached.
            fixed = {"seeds": (url,), "discovery": "off", **_credentials(context), **overrides}
            if credentials is not None:
                options = from_secret(credentials, **fixed)
            else:
                options = parse_url(url, **{key: value for key, value in fixed.items() if key != "seeds"})
            if secure:
                shown = context if context.ca else _with_authority(context, Path(folder) / "ca.crt")
                options = _tls(options, shown)
            yield Way(options, lambda: "" if forward.error is None else str(forward.error))


def _with_authority(context: Context, path: Path) -> Context:
    return Context(url="", ca=str(path), certificate=context.certificate, key=context.key)


def _read(server: ApiServer, resource: names.Resource, namespace: str, name: str) -> Object:
    try:
        return server.get_object(resource.path(namespace, name))
    except ApiError as error:
        kind = TargetMissing if error.status == 404 else CommandError
        raise kind(f"cannot read {resource.plural} {name} in namespace {namespace}: {error}") from error


def _only(server: ApiServer, namespace: str) -> str:
    try:
        found = [str(one["metadata"]["name"]) for one in server.list_objects(names.CLUSTERS, namespace)]
    except ApiError as error:
        raise CommandError(f"cannot list the clusters of namespace {namespace}: {error}") from error
    if len(found) == 1:
        return found[0]
    known = f"name one with --cluster: {', '.join(found)}" if found else "another one: -n NAMESPACE"
    raise TargetMissing(f"namespace {namespace} has {len(found) or 'no'} clusters; {known}")


def _pods(resource: Object) -> list[str]:
    """Return the members that may answer, those that are ready first. Raises TargetMissing."""
    members = list((resource.get("status") or {}).get("members") or ())
    members.sort(key=lambda one: not one.get("ready"))
    found = [str(one["name"]) for one in members if one.get("name")]
    if not found:
        raise TargetMissing(f"{resource['metadata']['name']} has no members yet: kubectl collectionstore status")
    return found


def _dial(server: ApiServer, namespace: str, pods: list[str]) -> Duplex:
    last: ApiError | None = None
    for pod in list(pods):
        try:
            return server.dial(namespace, pod, names.CLIENT_PORT)
        except ApiError as error:
            last = error
            # The next connection begins with another member.
            pods.append(pods.pop(pods.index(pod)))
    assert last is not None
    raise last


def _write_authority(server: ApiServer, namespace: str, cluster: str, folder: Path) -> None:
    record = _read(server, names.CONFIG_MAPS, namespace, names.record_name(cluster))
    authority = (record.get("data") or {}).get("ca.crt")
    if not authority:
        raise TargetMissing(f"the ConfigMap {names.record_name(cluster)} has no ca.crt yet; try again in a moment")
    _write(folder / "ca.crt", str(authority).encode())


def _write_secret(server: ApiServer, namespace: str, secret: str, folder: Path) -> Path:
    """Write the keys of a Secret as files that only this user can read, as Kubernetes mounts one."""
    data = _read(server, names.SECRETS, namespace, secret).get("data") or {}
    for key in SECRET_FILES:
        if key in data:
            try:
                _write(folder / key, base64.b64decode(str(data[key]), validate=True))
            except binascii.Error:
                raise CommandError(f"the Secret {secret} has a key {key} that is not base64") from None
    return folder


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(descriptor, "wb") as opened_file:
        opened_file.write(content)
