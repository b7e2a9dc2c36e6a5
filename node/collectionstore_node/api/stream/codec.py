"""Messages: in msgpack an array of items, in JSON one item per line. Pure.

Both forms show how many operations a message has BEFORE one of them is decoded, so that a message of four mebibytes
cannot hold a hundred thousand. A single map is a message of one operation, too. Lines of JSON are decoded one by one,
as they are taken: all of a large message hold the event loop for 15 ms.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol, TypeAlias

import msgspec

from collectionstore_node.api.stream import settings
from collectionstore_node.api.stream.operations import (
    AnyOperation,
    BinaryOperation,
    Item,
    JsonOperation,
    Malformed,
    Tagged,
    detached,
)

UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for bytes that are not what they should be: of another type, no UTF-8, nested without end."""

Received: TypeAlias = AnyOperation | Malformed


class MessageRejected(Exception):
    """The message cannot be understood, so that not even its operations can be answered."""


class TooManyOperations(Exception):
    """The message has more operations than the stream has credits."""


class Codec(Protocol):
    """One form of messages."""

    name: str
    """The WebSocket subprotocol."""
    text: bool
    """Whether its messages are text."""

    def decode(self, message: bytes, operations_max: int) -> Sequence[Received | bytes]:
        """Return the operations of a message, or what `complete` makes one of.

        Raises `MessageRejected` or `TooManyOperations`.
        """

    def complete(self, part: bytes) -> Received:
        """Return the operation of a part that is not decoded yet. Raises `MessageRejected`."""

    def encode(self, items: Sequence[Item]) -> bytes:
        """Return a message of items."""

    def json(self, text: bytes) -> bytes | msgspec.Raw:
        """Return JSON text as the body of an answer."""


_FIXARRAY: Final = 0x90
_FIXMAP: Final = 0x80
_ARRAY16: Final = 0xDC
_ARRAY32: Final = 0xDD
_MAP16: Final = 0xDE
_MAP32: Final = 0xDF


class MsgpackCodec:
    """msgpack: documents travel as JSON text in binary, which costs neither side a conversion."""

    name = "collectionstore.v1.msgpack"
    text = False

    def __init__(self) -> None:
        self._many = msgspec.msgpack.Decoder(list[BinaryOperation])
        self._one = msgspec.msgpack.Decoder(BinaryOperation)
        self._raw = msgspec.msgpack.Decoder(list[msgspec.Raw])
        self._tagged = msgspec.msgpack.Decoder(Tagged)
        self._encoder = msgspec.msgpack.Encoder()

    def decode(self, message: bytes, operations_max: int) -> Sequence[Received]:
        """Return the operations of a message."""
        if not message:
            raise MessageRejected("an empty message")
        first = message[0]
        if _FIXMAP <= first < _FIXARRAY or first in (_MAP16, _MAP32):
            return [_one(self._one, self._tagged, message)]
        if _count(message) > operations_max:
            raise TooManyOperations
        try:
            return self._many.decode(message)
        except UNREADABLE as error:
            if len(message) > settings.LENIENT_BYTES_MAX:
                raise MessageRejected(_reason(error)) from None
        # One by one: a mistake in one operation is an answer to that one.
        try:
            parts = self._raw.decode(message)
        except UNREADABLE as error:
            raise MessageRejected(_reason(error)) from None
        return [_one(self._one, self._tagged, bytes(part)) for part in parts]

    def complete(self, part: bytes) -> Received:
        """Return the operation in a part."""
        return _one(self._one, self._tagged, part)

    def encode(self, items: Sequence[Item]) -> bytes:
        """Return a message of items."""
        return self._encoder.encode(items)

    def json(self, text: bytes) -> bytes:
        """Return JSON text as the body of an answer."""
        return text


class JsonCodec:
    """JSON, one item per line: documents are values of the items."""

    name = "collectionstore.v1.json"
    text = True

    def __init__(self) -> None:
        self._one = msgspec.json.Decoder(JsonOperation)
        self._tagged = msgspec.json.Decoder(Tagged)
        self._encoder = msgspec.json.Encoder()

    def decode(self, message: bytes, operations_max: int) -> Sequence[bytes]:
        """Return the lines of a message."""
        if message.count(b"\n") > operations_max:
            raise TooManyOperations
        lines = [line for line in message.split(b"\n") if line and not line.isspace()]
        if len(lines) > operations_max:
            raise TooManyOperations
        if not lines:
            raise MessageRejected("an empty message")
        return lines

    def complete(self, part: bytes) -> Received:
        """Return the operation in a line."""
        received = _one(self._one, self._tagged, part)
        if len(part) <= settings.BESIDE_BYTES_MAX or isinstance(received, Malformed):
            return received
        return detached(received, len(part))

    def encode(self, items: Sequence[Item]) -> bytes:
        """Return a message of items, without a line end behind the last."""
        return self._encoder.encode_lines(items)[:-1]

    def json(self, text: bytes) -> msgspec.Raw:
        """Return JSON text as the body of an answer."""
        return msgspec.Raw(text)


_Decoder: TypeAlias = "msgspec.msgpack.Decoder[AnyOperation] | msgspec.json.Decoder[AnyOperation]"
_TaggedDecoder: TypeAlias = "msgspec.msgpack.Decoder[Tagged] | msgspec.json.Decoder[Tagged]"


def _one(decoder: _Decoder, tagged: _TaggedDecoder, data: bytes) -> Received:
    """Return one operation, or what can be said of it. Raises `MessageRejected`."""
    try:
        return decoder.decode(data)
    except UNREADABLE as error:
        reason = _reason(error)
    if len(data) > settings.LENIENT_BYTES_MAX:
        raise MessageRejected(reason)
    try:
        return Malformed(tagged.decode(data).tag, reason)
    except UNREADABLE:
        raise MessageRejected(reason) from None


def _count(message: bytes) -> int:
    """Return the number of items that an array announces. Raises `MessageRejected`."""
    first = message[0]
    if _FIXARRAY <= first < _FIXARRAY + 16:
        return first - _FIXARRAY
    if first == _ARRAY16 and len(message) >= 3:
        return int.from_bytes(message[1:3], "big")
    if first == _ARRAY32 and len(message) >= 5:
        return int.from_bytes(message[1:5], "big")
    raise MessageRejected("a message is an array of operations, or one operation")


def _reason(error: Exception) -> str:
    """Return what is wrong. msgspec's texts hold names and types only, never a value."""
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return "not valid UTF-8"
    return str(error).replace("`", "'")


MSGPACK: Final = MsgpackCodec()
JSON: Final = JsonCodec()
CODECS: Final[dict[str, Codec]] = {one.name: one for one in (MSGPACK, JSON)}
"""By subprotocol, the preferred one first."""
