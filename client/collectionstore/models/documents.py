"""Documents as values of a user's type: mappings, TypedDicts, dataclasses, msgspec structs, pydantic models.

The store keeps ID and revision beside a document. A value has them where its type has a place for them: a mapping as
`_id` (and as the attributes of `Document`), other types as the fields that are written `_id` and `_revision`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Generic, TypeVar, cast, get_type_hints, is_typeddict

import msgspec

from collectionstore.errors import CollectionStoreError, InvalidArgument
from collectionstore.models.json_text import encode

T = TypeVar("T")


class Document(dict[str, Any]):
    """A document as a dict, with `_id` in it, and its revision as an attribute."""

    __slots__ = ("revision",)

    def __init__(self, *arguments: Any, revision: int = 0, **fields: Any) -> None:
        super().__init__(*arguments, **fields)
        self.revision = revision
        """The revision of its last write; 0 for one that was not read from the store."""

    @property
    def id(self) -> str:
        """Its ID. Raises KeyError for one that has none yet."""
        return cast(str, self["_id"])


class UnreadableDocument(CollectionStoreError):
    """A document of the collection does not fit the type that the client was told; `id` says which."""

    def __init__(self, document_id: str | None, reason: str) -> None:
        super().__init__(f"document {document_id!r} does not fit its type: {reason}")
        self.id = document_id


class DocumentType(Generic[T]):
    """How values of one type become JSON text and come back."""

    def __init__(self, type_: type[T] | None = None) -> None:
        self.type: Any = type_ or Document
        self.given = type_ is not None
        """Whether there is a type other than `Document`."""
        self._plain = type_ is None or (isinstance(type_, type) and issubclass(type_, dict) and not is_typeddict(type_))
        self._pydantic = hasattr(self.type, "model_validate_json")
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
            Any if self._plain or self._pydantic else self.type
        )
        written = _written_fields(self.type) if not self._plain else frozenset(("_id",))
        self._has_id = "_id" in written
        self._has_revision = "_revision" in written

    def encode(self, value: T) -> tuple[str | None, bytes]:
        """Return the ID that a value has, if it has one, and its document as JSON text. Raises InvalidArgument."""
        if isinstance(value, Mapping):
            return _of_mapping(value)
        if self._pydantic and hasattr(value, "model_dump"):
            return _of_mapping(cast(Any, value).model_dump(mode="json", by_alias=True))
        if isinstance(value, str | bytes | int | float | list | tuple | set | type(None)):
            raise InvalidArgument(f"a document is a mapping or a model, not a {type(value).__name__}")
        if not self._has_id and not self._has_revision:
            text = encode(value)
            if not text.startswith(b"{"):
                raise InvalidArgument(f"a {type(value).__name__} does not become a JSON object")
            return None, text
        fields = msgspec.to_builtins(value)
        if not isinstance(fields, dict):
            raise InvalidArgument(f"a {type(value).__name__} does not become a JSON object")
        return _of_mapping(fields)

    def decode(self, document_id: str | None, revision: int, text: bytes | msgspec.Raw) -> T:
        """Return the value of a document. Raises UnreadableDocument."""
        try:
            if self._plain:
                fields = self._decoder.decode(text)
                if not isinstance(fields, dict):
                    raise UnreadableDocument(document_id, "it is no object")
                if self.type is Document:
                    whole = Document(revision=revision)
                    if document_id is not None:
                        whole["_id"] = document_id
                    whole.update(fields)
                    return cast(T, whole)
                return cast(T, self.type(fields if document_id is None else {"_id": document_id, **fields}))
            spliced = self._splice(document_id, revision, bytes(text))
            if self._pydantic:
                return cast(T, self.type.model_validate_json(spliced))
            return cast(T, self._decoder.decode(spliced))
        except (ValueError, TypeError) as error:
            # The text of msgspec names a path and a type; pydantic's has the input, and is not shown.
            reason = str(error) if isinstance(error, msgspec.ValidationError) else type(error).__name__
            raise UnreadableDocument(document_id, reason) from None

    def _splice(self, document_id: str | None, revision: int, text: bytes) -> bytes:
        head = b""
        if self._has_id and document_id is not None:
            head += b'"_id":' + msgspec.json.encode(document_id) + b","
        if self._has_revision:
            head += b'"_revision":%d,' % revision
        if not head:
            return text
        rest = text.lstrip()[1:]
        if rest.lstrip().startswith(b"}"):
            head = head[:-1]
        return b"{" + head + rest


def _of_mapping(value: Mapping[str, Any]) -> tuple[str | None, bytes]:
    document_id = value.get("_id")
    if document_id is not None and not isinstance(document_id, str):
        raise InvalidArgument(f"_id must be a text, not a {type(document_id).__name__}")
    if "_id" in value or "_revision" in value:
        value = {name: one for name, one in value.items() if name not in ("_id", "_revision")}
    elif not isinstance(value, dict):
        value = dict(value)
    return document_id, encode(value)


def _written_fields(type_: Any) -> frozenset[str]:
    """Return the names that the fields of a type have in JSON."""
    if hasattr(type_, "__struct_encode_fields__"):
        return frozenset(type_.__struct_encode_fields__)
    if hasattr(type_, "model_fields"):
        return frozenset(field.alias or name for name, field in type_.model_fields.items())
    if is_typeddict(type_):
        return frozenset(get_type_hints(type_))
    if dataclasses.is_dataclass(type_):
        return frozenset(field.name for field in dataclasses.fields(type_))
    return frozenset()
