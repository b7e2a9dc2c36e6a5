"""The file of contexts, as kubeconfig is one: names for clusters, the credentials to use there, and the current one.

`$COLLECTIONSTORE_CONTEXTS`, else `$XDG_CONFIG_HOME/collectionstore/contexts.json` (`~/.config` without the variable).
It is JSON, of mode 0600 from its first byte, and replaced as a whole under a lock, so that two commands lose nothing. A
file that others may write, or that belongs to another user, is refused: it says where credentials are sent to.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from collectionstore.cli.exit_codes import CommandError, ExitCode

VARIABLE: Final = "COLLECTIONSTORE_CONTEXTS"
VERSION: Final = 1
FILE_BYTES_MAX: Final = 1 << 20
CONTEXTS_MAX: Final = 1_000
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")
SECRETS: Final = ("password", "token")


class ContextsInvalid(CommandError):
    """The file of contexts cannot be used; the text says why, and shows nothing of its content."""

    exit_code = ExitCode.REFUSED


class ContextMissing(CommandError):
    """There is no such context; the text says which there are."""

    exit_code = ExitCode.NOT_FOUND


class LocalCluster(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A cluster that `csctl local` runs; `cluster` empty for the only one of its state directory."""

    state_dir: str
    cluster: str = ""


class KubernetesCluster(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A CollectionStoreCluster; what is empty is taken from the kubeconfig, as kubectl does.

    `secret` is the name of a Secret of the namespace with the credentials, as a CollectionStoreUser has one.
    """

    cluster: str
    namespace: str = ""
    context: str = ""
    kubeconfig: str = ""
    secret: str = ""


class Context(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One of `url`, `local` and `kubernetes`, and the credentials to use there. It is never shown with its secrets.

    `ca`, `certificate`, `key` and `token_file` are paths. `token` is one that `csctl login` was given, or that a person
    has stored; `token_expires` says when it ends, in Unix seconds.
    """

    url: str = ""
    local: LocalCluster | None = None
    kubernetes: KubernetesCluster | None = None
    ca: str = ""
    certificate: str = ""
    key: str = ""
    user: str = ""
    password: str = ""
    token: str = ""
    token_file: str = ""
    token_expires: float | None = None

    def __repr__(self) -> str:
        return f"Context({self.place})"

    @property
    def place(self) -> str:
        """Where the cluster is, for people; without credentials."""
        if self.local is not None:
            return f"local {self.local.cluster or 'cluster'} in {self.local.state_dir}"
        if self.kubernetes is not None:
            found = self.kubernetes
            return f"{found.cluster} in namespace {found.namespace or '(of the kubeconfig)'} on Kubernetes"
        return without_credentials(self.url)

    @property
    def proof(self) -> str:
        """Which kind of credential it has, for people."""
        if self.token or self.token_file:
            return "token"
        if self.certificate:
            return "certificate"
        if self.kubernetes is not None and self.kubernetes.secret:
            return f"Secret {self.kubernetes.secret}"
        return "password" if self.user else "none" if self.local is None else "token of the cluster"


class Contexts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The content of the file; `current` is empty for none."""

    version: int = VERSION
    current: str = ""
    contexts: dict[str, Context] = {}

    def context(self, name: str) -> Context:
        """Return a context. Raises ContextMissing."""
        found = self.contexts.get(name)
        if found is None:
            known = ", ".join(sorted(self.contexts)) or "none yet; make one: csctl context set NAME --url URL"
            raise ContextMissing(f"there is no context {name!r}; there are: {known}")
        return found


def default_path() -> Path:
    """Return where the file is."""
    named = os.environ.get(VARIABLE)
    if named:
        return Path(named).expanduser()
    root = os.environ.get("XDG_CONFIG_HOME") or ""
    # XDG: a path that is not absolute is to be ignored.
    base = Path(root) if Path(root).is_absolute() else Path("~/.config").expanduser()
    return base / "collectionstore" / "contexts.json"


def read(path: Path | None = None) -> Contexts:
    """Return the contexts; none if there is no file. Raises ContextsInvalid."""
    path = path or default_path()
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return Contexts()
    except OSError as error:
        raise ContextsInvalid(f"cannot read {path}: {error.strerror}") from error
    try:
        _check(path, os.fstat(descriptor))
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(FILE_BYTES_MAX + 1)
    finally:
        os.close(descriptor)
    if len(content) > FILE_BYTES_MAX:
        raise ContextsInvalid(f"{path} has more than {FILE_BYTES_MAX} bytes")
    try:
        found = msgspec.json.decode(content, type=Contexts)
    except msgspec.DecodeError as error:
        # The texts of msgspec name types and places, never values.
        raise ContextsInvalid(f"{path} is no file of contexts: {error}") from error
    if found.version != VERSION:
        raise ContextsInvalid(f"{path} has version {found.version}, this csctl knows {VERSION}; upgrade csctl")
    return found


@contextlib.contextmanager
def change(path: Path | None = None) -> Iterator[Change]:
    """Yield the contexts to be changed; what is changed is written when the block ends. Raises ContextsInvalid."""
    path = path or default_path()
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (path.parent / f".{path.name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = read(path)
            changed = Change(before)
            yield changed
            if changed.contexts != before:
                _replace(path, msgspec.json.format(msgspec.json.encode(changed.contexts)) + b"\n")
    except OSError as error:
        raise ContextsInvalid(f"cannot write {path}: {error.strerror}") from error


class Change:
    """What is changed under the lock."""

    def __init__(self, contexts: Contexts) -> None:
        self.contexts = contexts

    def put(self, name: str, context: Context, *, use: bool = False) -> None:
        """Create or replace a context; the first one, and one to `use`, becomes the current one."""
        check_name(name)
        known = {**self.contexts.contexts, name: context}
        if len(known) > CONTEXTS_MAX:
            raise ContextsInvalid(f"there are {CONTEXTS_MAX} contexts already; delete some: csctl context delete NAME")
        current = name if use or not self.contexts.current else self.contexts.current
        self.contexts = Contexts(current=current, contexts=known)

    def use(self, name: str) -> None:
        """Make a context the current one. Raises ContextMissing."""
        self.contexts.context(name)
        self.contexts = Contexts(current=name, contexts=self.contexts.contexts)

    def delete(self, name: str) -> None:
        """Delete a context. Raises ContextMissing."""
        self.contexts.context(name)
        rest = {key: one for key, one in self.contexts.contexts.items() if key != name}
        current = "" if self.contexts.current == name else self.contexts.current
        self.contexts = Contexts(current=current, contexts=rest)


def check_name(name: str) -> None:
    """Raise ContextsInvalid unless a context may be called so."""
    if not NAME.fullmatch(name):
        raise ContextsInvalid(
            f"{name[:80]!r} is no name of a context; allowed: 1 to 63 letters, digits, '.', '_', '@', '-'"
        )


def without_credentials(url: str) -> str:
    """Return a URL or connection string as it may be shown: without user, password, query and fragment."""
    scheme, marker, rest = url.partition("://")
    authority = re.split(r"[/?#]", rest if marker else scheme, maxsplit=1)
    hosts = authority[0].rpartition("@")[2]
    return f"{scheme}://{hosts}" if marker else hosts


def _check(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ContextsInvalid(f"{path} is not a regular file")
    if status.st_uid not in (os.geteuid(), 0):
        raise ContextsInvalid(f"{path} belongs to the user with uid {status.st_uid}, you are uid {os.geteuid()}")
    if status.st_mode & 0o077:
        raise ContextsInvalid(f"{path} may be read or written by other users; make it yours alone: chmod 600 {path}")


def _replace(path: Path, content: bytes) -> None:
    # mkstemp makes files of mode 0600: no other user can open it, not even for a moment.
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise
