"""The options of a collection: what is set of them is stored beside its catalog record. From level `CHANGES` on.

A collection without options has no record, and costs nothing more than at earlier levels. Once one was configured its
record stays, so that its revision never goes back.

Add an option as a field at the end of `CollectionOptions`, with a default, and as a line of `_OPTIONS`.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec
import orjson

from collectionstore_node.documents.pointers import child
from collectionstore_node.documents.values import Value
from collectionstore_node.errors import InvalidPart
from collectionstore_node.schemas import check_schema
from collectionstore_node.statemachine.codec import decode_own
from collectionstore_node.statemachine.keys import options_key
from collectionstore_node.statemachine.ttl import TTL_ALLOWED, parse_ttl, shown_ttl
from collectionstore_node.statemachine.view import View

SEQUENCE_MAX: Final = (1 << 53) - 1
"""The last number of a sequence: every client can read it."""


class SchemaMode(enum.IntEnum):
    """What becomes of a document that its schema does not allow."""

    OFF = 0
    """It is not looked at."""
    WARN = 1
    """It is stored, and the answer says so."""
    STRICT = 2
    """It is refused."""


class Ids(enum.IntEnum):
    """Who makes the ID of a document that a request does not name."""

    UUID7 = 0
    """The member that takes the request: a UUIDv7."""
    CLIENT = 1
    """The client alone: a document without an ID is refused."""
    SEQUENCE = 2
    """The state machine: the next number. New documents have no other IDs."""


class Schema(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The schema of a collection. Add fields at the end, with a default."""

    text: bytes
    """Compact JSON text of a JSON Schema that `schemas.check_schema` takes."""
    mode: SchemaMode = SchemaMode.STRICT
    defaults: bool = False
    """Whether missing properties get the `default` that the schema has for them."""
    version: int = 0
    """The revision at which its text was set; 0 in a command."""


QUOTA_MAX: Final = (1 << 53) - 1
"""The largest quota: every client can read it."""


class CollectionOptions(msgspec.Struct, frozen=True, array_like=True):
    """All options of a collection. It is stored, and part of a command: add fields at the end, with a default."""

    schema: Schema | None = None
    ids: Ids = Ids.UUID7
    sequence_start: int = 1
    """The first number of its sequence."""
    ttl_ms: int = 0
    """How long a document is there behind its last write, if that does not say it; 0 for ever."""
    max_documents: int = 0
    """How many documents it may have; 0 for any number."""
    max_bytes: int = 0
    """How many bytes their texts may have together; 0 for any number."""

    @property
    def metered(self) -> bool:
        """Whether what its documents take is counted (`usage`)."""
        return self.max_documents > 0 or self.max_bytes > 0


DEFAULTS: Final = CollectionOptions()


class Configured(msgspec.Struct, frozen=True, array_like=True):
    """The stored record of a collection's options."""

    options: CollectionOptions
    revision: int
    """When they were last changed."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Configured)


def encode_options(configured: Configured) -> bytes:
    """Return the record of a collection's options; without a quota, as it is where there are none."""
    options = configured.options
    if options.metered:
        return _encoder.encode(configured)
    return _encoder.encode(((options.schema, options.ids, options.sequence_start, options.ttl_ms), configured.revision))


def read_options(view: View, collection_id: int) -> Configured:
    """Return the options of a collection, whose catalog record says that it has some.

    Without a record they are the defaults, at its creation. Raises `InvariantViolated` for a corrupt record.
    """
    data = view.get(options_key(collection_id))
    if data is None:
        return Configured(DEFAULTS, collection_id)
    return decode_own(_decoder, data, "the options of a collection")


def parse_options(given: Value, pointer: str = "") -> CollectionOptions:
    """Return the options in a request's body: null is the default. Raises `InvalidPart` with a pointer.

    Its codes are `invalid_options` and `invalid_schema`. A schema's `version` may be given, as it is shown, and is not
    looked at.
    """
    if type(given) is not dict:
        raise _invalid(pointer, f"options are an object with members of {', '.join(_OPTIONS)}")
    members: dict[str, Any] = {}
    for name, value in given.items():
        option = _OPTIONS.get(name)
        if option is None:
            raise _invalid(child(pointer, name), f"there is no such option; there are {', '.join(_OPTIONS)}")
        if value is not None:
            members[option.field or name] = option.parse(value, child(pointer, name))
    options = CollectionOptions(**members)
    if options.sequence_start != DEFAULTS.sequence_start and options.ids is not Ids.SEQUENCE:
        raise _invalid(child(pointer, "sequence_start"), 'it goes with "ids": "sequence"')
    return options


def shown_options(options: CollectionOptions) -> dict[str, Any]:
    """Return those options that are not the defaults, as `parse_options` takes them."""
    return {
        name: option.show(value)
        for name, option in _OPTIONS.items()
        if (value := getattr(options, option.field or name)) != getattr(DEFAULTS, option.field or name)
    }


def options_violation(options: CollectionOptions) -> str | None:
    """Return what is wrong with options that a member forwarded or a log entry holds, or None."""
    try:
        if parse_options(shown_options(options)) != unversioned(options):
            return "the options are not in their canonical form"
    except InvalidPart as error:
        return error.detail
    except ValueError:
        return "the schema is not JSON"
    return None


def unversioned(options: CollectionOptions) -> CollectionOptions:
    """Return options without what the state machine adds."""
    schema = options.schema
    if schema is None or not schema.version:
        return options
    return msgspec.structs.replace(options, schema=msgspec.structs.replace(schema, version=0))


def versioned(options: CollectionOptions, before: CollectionOptions, revision: int) -> CollectionOptions:
    """Return the options to store at `revision` in place of `before`: a schema with another text has a new version."""
    schema, known = options.schema, before.schema
    if schema is None:
        return options
    kept = known is not None and known.text == schema.text
    version = known.version if kept and known is not None else revision
    return msgspec.structs.replace(options, schema=msgspec.structs.replace(schema, version=version))


class _Option(NamedTuple):
    """How an option is read and shown as JSON, and its field."""

    parse: Callable[[Any, str], Any]
    show: Callable[[Any], Any]
    field: str = ""


_SCHEMA_MEMBERS: Final = ("document", "mode", "defaults", "version")


def _parse_schema(given: Any, pointer: str) -> Schema:
    if type(given) is not dict:
        raise _invalid(pointer, 'a schema is an object, such as {"document": {"type": "object"}, "mode": "strict"}')
    for name in given:
        if name not in _SCHEMA_MEMBERS:
            raise _invalid(child(pointer, name), f"there is no such member; there are {', '.join(_SCHEMA_MEMBERS)}")
    if "document" not in given:
        raise _invalid(child(pointer, "document"), "a JSON Schema is required")
    mode = _parse_name(SchemaMode, given.get("mode", "strict"), child(pointer, "mode"))
    defaults = given.get("defaults", False)
    if type(defaults) is not bool:
        raise _invalid(child(pointer, "defaults"), "allowed are true and false")
    document = given["document"]
    check_schema(document, child(pointer, "document"))
    return Schema(orjson.dumps(document), SchemaMode(mode), defaults)


def _show_schema(schema: Schema) -> dict[str, Any]:
    return {
        "document": orjson.loads(schema.text),
        "mode": schema.mode.name.lower(),
        "defaults": schema.defaults,
        "version": schema.version,
    }


def _parse_name(kind: type[enum.IntEnum], given: Any, pointer: str) -> int:
    allowed = {one.name.lower(): one for one in kind}
    if type(given) is not str or given not in allowed:
        raise _invalid(pointer, f"allowed are {', '.join(allowed)}")
    return allowed[given]


def _parse_ttl(given: Any, pointer: str) -> int:
    milliseconds = parse_ttl(given) if type(given) is str else None
    if milliseconds is None:
        raise _invalid(pointer, f"allowed are {TTL_ALLOWED}, and null for ever")
    return milliseconds


def _parse_start(given: Any, pointer: str) -> int:
    if type(given) is not int or not 1 <= given <= SEQUENCE_MAX:
        raise _invalid(pointer, f"a sequence begins with a whole number from 1 to {SEQUENCE_MAX}")
    return given


def _parse_quota(given: Any, pointer: str) -> int:
    if type(given) is not int or not 1 <= given <= QUOTA_MAX:
        raise _invalid(pointer, f"a quota is a whole number from 1 to {QUOTA_MAX}, or null for none")
    return given


_OPTIONS: Final[dict[str, _Option]] = {
    "schema": _Option(_parse_schema, _show_schema),
    "ids": _Option(lambda given, pointer: Ids(_parse_name(Ids, given, pointer)), lambda ids: ids.name.lower()),
    "sequence_start": _Option(_parse_start, lambda start: start),
    "ttl": _Option(_parse_ttl, shown_ttl, "ttl_ms"),
    "max_documents": _Option(_parse_quota, lambda quota: quota),
    "max_bytes": _Option(_parse_quota, lambda quota: quota),
}
"""By their name in requests and answers: that of the field in `CollectionOptions`, where they have no other one."""


def _invalid(pointer: str, detail: str) -> InvalidPart:
    return InvalidPart("invalid_options", pointer, detail)
