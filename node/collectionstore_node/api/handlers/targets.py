"""How bodies name what they are about: a document or a raw value, or the documents that a filter finds."""

from __future__ import annotations

import base64
import binascii

import msgspec

from collectionstore_node.api.http.names import bucket_name, check_key, collection_name
from collectionstore_node.api.http.problems import Problem
from collectionstore_node.service.operations import DocumentQuery, DocumentRef, KeyRef, Ref


class Target(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A document by `collection` and `id`, or a raw value by `bucket` and `key`."""

    collection: str | None = None
    id: str | None = None
    bucket: str | None = None
    key: str | None = None


def ref_of(target: Target, path: str, key_bytes_max: int) -> Ref:
    """Return what a target names; `path` is where it is in the body. Raises `Problem`."""
    match target:
        case Target(collection=str(collection), id=str(name), bucket=None, key=None):
            return DocumentRef(collection_name(collection), check_key(name, key_bytes_max, "document id"))
        case Target(collection=None, id=None, bucket=str(bucket), key=str(key)):
            return KeyRef(bucket_name(bucket), check_key(key, key_bytes_max, "key"))
    raise Problem("invalid_body", f"{path}: name a target by collection and id, or by bucket and key")


def query_of(target: Target, text: bytes, path: str, key_bytes_max: int) -> DocumentQuery:
    """Return the query for the documents that a filter finds, or for the target's; empty text for all. As `ref_of`."""
    match target:
        case Target(collection=str(collection), bucket=None, key=None):
            name = None if target.id is None else check_key(target.id, key_bytes_max, "document id")
            return DocumentQuery(collection_name(collection), text or b"{}", name)
    raise Problem("invalid_body", f"{path}: a filter is for documents: name a collection, and perhaps an id")


def base64_of(text: str, path: str) -> bytes:
    """Return the bytes in base64. As `ref_of`."""
    try:
        return base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise Problem("invalid_body", f"{path}: not base64 with padding") from None
