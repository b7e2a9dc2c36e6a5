"""`AsyncBucket`: raw values under keys, also ones that are larger than a value of the store may be."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from collectionstore.asynchronous.context import AsyncContext
from collectionstore.asynchronous.handle import life
from collectionstore.asynchronous.watch import AsyncWatch, Start
from collectionstore.errors import CorruptValue, InvalidArgument, NotFound
from collectionstore.models.chunks import CHUNKS, Manifest, chunk_key, pieces, read_manifest
from collectionstore.models.documents import DocumentType
from collectionstore.models.ids import new_id
from collectionstore.models.json_text import encode
from collectionstore.models.queries import bounded, text, without_none
from collectionstore.models.results import KeyInfo, Value, WriteResult
from collectionstore.runtime.watching import OnGap
from collectionstore.wire.operations import DeleteValue, GetValue, ListKeys, PutValue, Revisions
from collectionstore.wire.requests import as_request, json_request, segment, value_path


class _Key(msgspec.Struct):
    key: str
    revision: int
    size: int = 0
    content_type: str = ""
    value: str | None = None


class _Page(msgspec.Struct):
    keys: list[_Key]
    next_cursor: str | None = None


class AsyncBucket:
    """Values of one bucket, which needs no creation. Every call takes `timeout`."""

    def __init__(self, context: AsyncContext, name: str) -> None:
        self._context = context
        self.name = text("the name of a bucket", name)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    async def get(self, key: str, *, at_revision: int | None = None, timeout: object = None) -> Value | None:
        """Return a value with its revision, None if there is none."""
        operation = GetValue(bucket=self.name, key=text("a key", key))
        try:
            if at_revision is None:
                answer = await self._context.call(operation, timeout)
            else:
                request = self._context.read_parameters(as_request(operation), at_revision)
                answer = await self._context.send(request, timeout)
        except NotFound as error:
            if error.code != "key_not_found":
                raise
            return None
        return Value(key, answer.value or b"", answer.etag or 0, answer.content_type or "application/octet-stream")

    async def put(
        self,
        key: str,
        value: bytes | str,
        *,
        content_type: str | None = None,
        if_revision: Revisions | None = None,
        if_exists: bool | None = None,
        ttl: object = None,
        lease: int | None = None,
        timeout: object = None,
    ) -> WriteResult:
        """Create or replace a value: bytes, or a text, which is stored as UTF-8."""
        if not isinstance(value, bytes | bytearray | memoryview | str):
            raise InvalidArgument(f"a value is bytes or a text, not a {type(value).__name__}")
        content = value.encode() if isinstance(value, str) else bytes(value)
        operation = PutValue(bucket=self.name, key=text("a key", key), value=content)
        if content_type is not None or isinstance(value, str):
            operation.content_type = content_type or "text/plain; charset=utf-8"
        if if_revision is not None:
            operation.if_revision = if_revision
        if if_exists is not None:
            operation.if_exists = if_exists
        if ttl is None and lease is None:
            answer = await self._context.call(operation, timeout)
        else:
            request = as_request(operation)
            request.parameters |= {name: str(one) for name, one in life(ttl, lease).items()}
            answer = await self._context.send(request, timeout)
        return WriteResult(key, answer.revision, created=answer.status == 201, replayed=answer.replayed)

    async def delete(
        self, key: str, *, if_revision: Revisions | None = None, timeout: object = None
    ) -> WriteResult | None:
        """Delete a value; None if there was none."""
        operation = DeleteValue(bucket=self.name, key=text("a key", key))
        if if_revision is not None:
            operation.if_revision = if_revision
        try:
            answer = await self._context.call(operation, timeout)
        except NotFound as error:
            if error.code != "key_not_found":
                raise
            return None
        return WriteResult(key, answer.revision, replayed=answer.replayed)

    async def touch(self, key: str, *, ttl: object = None, lease: int | None = None, timeout: object = None) -> None:
        """Move the time at which a value expires, and nothing else."""
        body = encode({"key": text("a key", key), **life(ttl, lease)})
        await self._context.send(json_request("POST", f"/kv/{segment(self.name)}:touch", body, writes=True), timeout)

    async def keys(
        self, prefix: str = "", *, values: bool = False, page: int | None = None, timeout: object = None
    ) -> AsyncIterator[KeyInfo]:
        """Yield the keys that begin with `prefix`, in their order. Pages are separate reads."""
        size = bounded("page", page, 1, 1_000)
        cursor: str | None = None
        while True:
            operation = ListKeys(bucket=self.name, values=values)
            for name, one in without_none(prefix=prefix or None, limit=size, cursor=cursor).items():
                setattr(operation, name, one)
            answer = await self._context.call(operation, timeout)
            found = msgspec.json.decode(answer.body or b"", type=_Page)
            for one_key in found.keys:
                content = None if one_key.value is None else base64.b64decode(one_key.value)
                yield KeyInfo(one_key.key, one_key.revision, one_key.size, one_key.content_type, content)
            cursor = found.next_cursor
            if cursor is None:
                return

    def watch(
        self,
        *,
        operations: Sequence[str] | None = None,
        before: bool = False,
        start: Start = "now",
        on_gap: OnGap = "raise",
    ) -> AsyncWatch[dict[str, Any]]:
        """Return the changes of the bucket, as a collection's `watch` does."""
        return AsyncWatch(
            self._context,
            {"bucket": self.name},
            DocumentType(dict),
            operations=operations,
            before=before,
            start=start,
            on_gap=on_gap,
        )

    async def put_large(
        self, key: str, value: bytes, *, content_type: str = "application/octet-stream", timeout: object = None
    ) -> WriteResult:
        """Store a value of any size as chunks with checksums. Readers see the former value until it is complete.

        The chunks are values beside it, under keys that begin with the key and `.chunks`; an upload that does not end
        leaves its own. `timeout` is that of each of them.
        """
        former = await self._manifest(key, timeout)
        upload, parts = new_id(), pieces(bytes(value))
        digests = []
        for number, piece in enumerate(parts):
            await self.put(chunk_key(key, upload, number), piece, timeout=timeout)
            digests.append(hashlib.sha256(piece).hexdigest())
        whole = hashlib.sha256(value).hexdigest()
        manifest = Manifest(upload, len(value), whole, digests, content_type)
        # AFTER the chunks: what a manifest names is there.
        made = await self.put(key, encode(manifest), content_type=CHUNKS, timeout=timeout)
        if former is not None:
            await self._drop_chunks(key, former, timeout)
        return made

    async def get_large(self, key: str, *, timeout: object = None) -> bytes | None:
        """Return a value of `put_large`, or one of `put`; None if there is none. Raises CorruptValue."""
        found = await self.get(key, timeout=timeout)
        if found is None or found.content_type != CHUNKS:
            return None if found is None else found.value
        manifest = read_manifest(found.value)
        content = bytearray()
        for number, digest in enumerate(manifest.chunks):
            piece = await self.get(chunk_key(key, manifest.upload, number), timeout=timeout)
            if piece is None:
                # It was replaced meanwhile, and its chunks were deleted behind the new manifest.
                newer = await self.get(key, timeout=timeout)
                if newer is None or newer.revision != found.revision:
                    return await self.get_large(key, timeout=timeout)
                raise CorruptValue(f"chunk {number} of {len(manifest.chunks)} is missing")
            if hashlib.sha256(piece.value).hexdigest() != digest:
                raise CorruptValue(f"chunk {number} of {len(manifest.chunks)} is not what was stored")
            content += piece.value
        if len(content) != manifest.size or hashlib.sha256(content).hexdigest() != manifest.sha256:
            raise CorruptValue("the chunks together are not what was stored")
        return bytes(content)

    async def delete_large(self, key: str, *, timeout: object = None) -> WriteResult | None:
        """Delete a value of `put_large` with its chunks."""
        manifest = await self._manifest(key, timeout)
        # BEFORE the chunks: no reader finds a manifest without them.
        gone = await self.delete(key, timeout=timeout)
        if manifest is not None:
            await self._drop_chunks(key, manifest, timeout)
        return gone

    async def _manifest(self, key: str, timeout: object) -> Manifest | None:
        found = await self.get(key, timeout=timeout)
        return read_manifest(found.value) if found is not None and found.content_type == CHUNKS else None

    async def _drop_chunks(self, key: str, manifest: Manifest, timeout: object) -> None:
        for number in range(len(manifest.chunks)):
            await self.delete(chunk_key(key, manifest.upload, number), timeout=timeout)

    def path(self, key: str) -> str:
        """Return the path of a value behind `/api/v1`, for other programs."""
        return value_path(self.name, key)
