"""The object store that holds backups: S3, Google Cloud Storage, Azure Blob Storage, or a directory. By obstore.

Every object is stored whole or not at all. Every call ends within `REQUEST_S` for each of a few attempts; the program's
deadline is above all of them.
"""

from __future__ import annotations

import asyncio
import math
import mmap
import os
import re
import time
from collections.abc import Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

import obstore
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError, UnknownConfigurationKeyError
from obstore.store import LocalStore, ObjectStore, from_url

from collectionstore_node.backup.errors import (
    BackupError,
    CredentialsRefused,
    InvalidUse,
    NotFound,
    Refused,
    StoreFull,
    StoreUnreachable,
)

REQUEST_S: Final = 60
"""For one attempt: an object has some 16 MiB, so a store below 0.3 MB/s counts as not answering."""
RETRIES: Final = 4
RETRY_S: Final = 120
FOLDERS_S: Final = 60
"""For a listing of folders, with all its pages: a store may send pages without an end."""
SYNC_BYTES: Final = 512 << 10
"""What is written to a disk at a time, a multiple of the size of a page."""
SYNC_REST_S_MAX: Final = 0.05
OBJECTS_MAX: Final = 10_000_000
"""In one listing; an archive of a second's interval has 2.6 million for 30 days."""
SCHEMES: Final = ("s3", "gs", "az", "file")
_NO_ROOM: Final = re.compile(r"os error (28|122)\b|StorageFull|No space left", re.IGNORECASE)
_ROLES: Final = re.compile(r"169\.254\.16[89]\.254|169\.254\.170\.|metadata\.google\.internal")
"""Where machines of clouds answer for the credentials of their roles."""
_SCHEME: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_NO_ANSWER: Final = re.compile("Connect|[Tt]imed out|error sending request|body error|Content-Range header not present")
"""Also of a body that trickles or is cut: the library asks for the rest, which not every store serves."""
_STAGED: Final = re.compile(r".+#[0-9]+")
"""The name of a file that is being written; no object has such a name."""
_PASSWORD: Final = re.compile(r"//[^/@\s]*@")


class Stored(NamedTuple):
    """An object in a listing."""

    name: str
    size: int


class Repository:
    """Objects by name. Thread-safe. Raises `NotFound`, `CredentialsRefused`, `StoreUnreachable`, `StoreFull`."""

    def __init__(self, url: str, options: Mapping[str, str] | None = None, *, create: bool = True) -> None:
        """Open the store at `url`, with options of obstore such as `endpoint` and `region`; credentials come from the
        environment, by the names of each provider's own tools. Raises `InvalidUse`; nothing is read or written.

        A directory is made if it is missing, unless `create` is False: `NotFound` is raised then.
        """
        if "://" not in url and not _SCHEME.match(url):
            url = Path(url).absolute().as_uri()
        scheme, _, rest = url.partition("://")
        if scheme not in SCHEMES:
            # Without the rest: what is wrong may hold a password.
            name = url.partition(":")[0]
            raise InvalidUse(f"{name}:...: a repository is s3://, gs://, az://, file:// or a directory")
        # A colon as well: the secret behind it may have a slash, before the `@` of the user.
        if scheme != "file" and re.search(r"^[^/]*[@:]|[?#]", rest):
            raise InvalidUse(
                f"the {scheme} URL of the repository holds more than a bucket and a path. Credentials come from the "
                "environment, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; settings from --option"
            )
        self.url = url
        given: dict[str, Any] = dict(options or {})
        try:
            if scheme == "file":
                if given:
                    raise InvalidUse(f"a directory has no options; given: {', '.join(sorted(given))}")
                if not create and not Path(unquote(rest)).is_dir():
                    raise NotFound(f"{url}: there is no such directory, so no backup")
                self._store: ObjectStore = from_url(url, mkdir=create)
            else:
                named = [str(one) for one in given.values()]
                if "endpoint" not in given:
                    named.append(os.environ.get("AWS_ENDPOINT_URL", ""))
                client: Any = {
                    "timeout": timedelta(seconds=REQUEST_S),
                    "connect_timeout": timedelta(seconds=5),
                    # Only what the user names as http: an emulator, or a store inside the cluster's network.
                    "allow_http": any(one.startswith("http://") for one in named),
                }
                settings: Any = given or None
                retries: Any = {"max_retries": RETRIES, "retry_timeout": timedelta(seconds=RETRY_S)}
                self._store = from_url(url, config=settings, client_options=client, retry_config=retries)
        except (BaseError, ValueError, OSError) as error:
            known = "unknown option" if isinstance(error, UnknownConfigurationKeyError) else "cannot be opened"
            raise InvalidUse(f"{url}: {known}: {_first_line(error)}") from None

    def put(self, name: str, data: bytes) -> None:
        """Store an object whole; one of that name is replaced, so that a request that is repeated does no harm."""
        try:
            # Never as a multipart upload: one that is interrupted would leave parts that no listing shows.
            obstore.put(self._store, name, data, use_multipart=False)
        except Exception as error:
            raise self._explained("write", name, error) from error

    def get(self, name: str, bytes_max: int) -> bytes:
        """Return an object of at most `bytes_max` bytes. Raises `NotFound`; `BackupError` if it is larger."""
        try:
            found = obstore.get(self._store, name)
            if found.meta["size"] > bytes_max:
                raise BackupError(f"{name} in {self.url} has {found.meta['size']} bytes; at most {bytes_max} are read")
            return bytes(found.bytes())
        except BackupError:
            raise
        except Exception as error:
            raise self._explained("read", name, error) from error

    @property
    def ordered(self) -> bool:
        """Return whether `objects` come in the order of their names; those of a directory do not."""
        return not isinstance(self._store, LocalStore)

    def objects(self, prefix: str, *, after: str = "") -> Iterator[Stored]:
        """Yield the objects whose names begin with `prefix`, which ends with a slash, and are behind `after`.

        S3 lists only what is behind it. Some stores list all, or what is asked for as well: that is dropped here.
        """
        count = 0
        try:
            for page in obstore.list(self._store, prefix, offset=after or None):
                count += len(page)
                if count > OBJECTS_MAX:
                    raise BackupError(f"{prefix} in {self.url} has more than {OBJECTS_MAX} objects, which are not read")
                for meta in page:
                    if meta["path"] > after:
                        yield Stored(meta["path"], meta["size"])
        except BackupError:
            raise
        except Exception as error:
            if self._is_unwritten(error):
                return
            raise self._explained("list", prefix, error) from error

    def _is_unwritten(self, error: Exception) -> bool:
        """Return whether a listing failed because nothing was written to the directory yet."""
        return isinstance(error, FileNotFoundError) and isinstance(self._store, LocalStore)

    def folders(self, prefix: str) -> list[str]:
        """Return the names directly below `prefix` that have objects below them, sorted."""

        async def listed() -> Any:
            async with asyncio.timeout(FOLDERS_S):
                return await obstore.list_with_delimiter_async(self._store, prefix)

        try:
            found = asyncio.run(listed())
        except TimeoutError:
            raise StoreUnreachable(f"list {prefix} in {self.url}: it did not end within {FOLDERS_S} s") from None
        except Exception as error:
            if self._is_unwritten(error):
                return []
            raise self._explained("list", prefix, error) from error
        return sorted(name.rstrip("/").rpartition("/")[2] for name in found["common_prefixes"])

    def delete(self, name: str) -> None:
        """Delete an object; one that is not there is no error."""
        try:
            obstore.delete(self._store, name)
        except FileNotFoundError:
            pass
        except Exception as error:
            raise self._explained("delete", name, error) from error

    def settle_object(self, name: str) -> None:
        """Write a stored object to the disk now, and forget it: what is read afterwards comes from the disk.

        In a directory, that is. Gigabytes that wait to be written would be written at once in the end, before the next
        sync of anything on that disk, a member's log among it; and they take the place of what members read. It is
        written a piece at a time, with as long a rest behind each: what a log has to sync waits for one.
        """
        if not isinstance(self._store, LocalStore):
            return
        try:
            with (Path(str(self._store.prefix)) / name).open("rb") as file:
                _write_out(file.fileno())
                os.fsync(file.fileno())
                if hasattr(os, "posix_fadvise"):  # not on macOS
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        except OSError as error:
            raise self._explained("sync", name, error) from error

    def settle(self, prefix: str) -> None:
        """Make what was stored below `prefix` survive a power failure: a directory needs that, an object store not."""
        if not isinstance(self._store, LocalStore):
            return
        root = Path(str(self._store.prefix))
        folder = root / prefix
        try:
            for path in sorted(folder.rglob("*")):
                _sync(path)
            for path in (folder, *folder.parents):
                _sync(path)
                if path == root:
                    break
        except OSError as error:
            raise self._explained("sync", prefix, error) from error

    def tidy(self, prefix: str, *, staged: bool = False) -> None:
        """Remove the empty folders that deleted objects leave in a directory; an object store has none.

        With `staged` first the files that are below it only because a write was interrupted.
        """
        if not isinstance(self._store, LocalStore):
            return
        folder = Path(str(self._store.prefix)) / prefix
        if staged:
            self.sweep(prefix, 0.0)
        for path in sorted(folder.rglob("*"), reverse=True):
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()

    def sweep(self, prefix: str, older_s: float) -> int:
        """Delete what interrupted writes left in a directory and is at least so old; return how many.

        A file is written beside its place, as `name#1`, and renamed: no listing shows it before. An object store has
        none: no object is written in parts.
        """
        if not isinstance(self._store, LocalStore):
            return 0
        count, before = 0, time.time() - older_s
        try:
            for path in (Path(str(self._store.prefix)) / prefix).rglob("*"):
                if _STAGED.fullmatch(path.name) and _written(path) <= before:
                    path.unlink(missing_ok=True)
                    count += 1
        except OSError as error:
            raise self._explained("clean", prefix, error) from error
        return count

    def _explained(self, action: str, name: str, error: Exception) -> BackupError:
        text, line = str(error), _first_line(error)
        what = f"{action} {name} in {self.url}"
        if "NoSuchBucket" in text or "ContainerNotFound" in text:
            return Refused(f"{what}: the bucket does not exist; it is not created here")
        if isinstance(error, FileNotFoundError):
            return NotFound(f"{what}: it does not exist")
        # A listing that is refused is a general error of the library.
        listing = re.search(r"\b(401 Unauthorized|403 Forbidden)\b", text)
        if listing or isinstance(error, (PermissionDeniedError, UnauthenticatedError, PermissionError)):
            return CredentialsRefused(f"{what}: the repository refuses the credentials ({line})")
        if _ROLES.search(text):
            # Without credentials the library asks the machine for those of its role.
            return CredentialsRefused(f"{what}: no credentials: none in the environment, and no role ({line})")
        if _NO_ROOM.search(text):
            return StoreFull(f"{what}: the repository is full")
        if _NO_ANSWER.search(text) or "after" in line:
            return StoreUnreachable(f"{what}: the repository does not answer ({line})")
        return BackupError(f"{what}: {line}")


def _written(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return math.inf  # renamed meanwhile: it is an object now


def _write_out(descriptor: int) -> None:
    """Write what is dirty of a file to its disk, `SYNC_BYTES` at a time. Raises `OSError`."""
    size = os.fstat(descriptor).st_size
    if not size:
        return
    # msync(2) of a shared mapping, even of one that is read only, writes a range; Python has no sync_file_range(2).
    with mmap.mmap(descriptor, size, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ) as mapped:
        for at in range(0, size, SYNC_BYTES):
            began = time.perf_counter()
            mapped.flush(at, min(SYNC_BYTES, size - at))
            time.sleep(min(time.perf_counter() - began, SYNC_REST_S_MAX))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _first_line(error: Exception) -> str:
    """Return what obstore says, without its debug output and without the credentials that a URL may hold."""
    line = str(error).partition("\n")[0]
    return _PASSWORD.sub("//", line[:400])
