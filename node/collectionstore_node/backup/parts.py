"""A part: a bounded piece of a stream as it is stored, compressed by itself and encrypted if there is a key. Pure.

Parts have a fixed size before compression, so memory is bounded, and several are compressed, stored and read at a time.
Each is one object that is stored whole or not at all: what an interrupted run leaves behind can be listed and deleted,
unlike the parts of an unfinished multipart upload.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import sha256
from typing import Final

import msgspec
from backports import zstd

from collectionstore_node.backup.errors import Corrupt
from collectionstore_node.backup.sealing import Sealer

PART_BYTES: Final = 16 << 20
"""Of the stream, in each part but the last."""
PART_BYTES_MAX: Final = 64 << 20
"""What a reader accepts."""
STORED_OVERHEAD_MAX: Final = 1 << 20
"""How much larger than its content a part may be: incompressible data grows by less."""
PARTS_MAX: Final = 1_000_000
LEVEL: Final = 3
"""Of zstd, 1 to 19; 3 is its own default."""

PIECE_BYTES: Final = 128 << 10
"""What is compressed or hashed at a time: less than half a millisecond, in which nothing else has the processor."""


def _nothing(_size: int) -> None:
    """Do nothing behind a piece."""


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One stored part."""

    bytes: int
    """Of the stream."""
    stored_bytes: int
    sha256: str
    """Of the stored bytes, in hexadecimal."""


def part_name(number: int) -> str:
    """Return the name of a part, below its backup."""
    return f"data/{number:08}.part"


def store_part(
    number: int, content: bytes, context: str, sealer: Sealer | None, after: Callable[[int], None] = _nothing
) -> tuple[Part, bytes]:
    """Return a part and the bytes to store; `context` is the ID of the backup. `after` is called behind each piece."""
    compressor = zstd.ZstdCompressor(level=LEVEL)
    compressor.set_pledged_input_size(len(content))
    pieces = []
    for piece in _pieces(content):
        pieces.append(compressor.compress(piece))
        after(len(piece))
    pieces.append(compressor.flush())
    data = b"".join(pieces)
    if sealer is not None:
        data = sealer.seal(number, f"{context}/{part_name(number)}", data)
    return Part(len(content), len(data), _hash(data, after)), data


def check_stored(part: Part, name: str, data: bytes, after: Callable[[int], None] = _nothing) -> None:
    """Raise `Corrupt` unless `data` is what was stored. `after` is called behind each piece."""
    if len(data) != part.stored_bytes or _hash(data, after) != part.sha256:
        raise Corrupt(f"{name} is not what was written: its size or hash differs from the manifest")


def _hash(data: bytes, after: Callable[[int], None]) -> str:
    found = sha256()
    for piece in _pieces(data):
        found.update(piece)
        after(len(piece))
    return found.hexdigest()


def _pieces(data: bytes) -> Iterator[memoryview]:
    view = memoryview(data)
    for at in range(0, len(view), PIECE_BYTES):
        yield view[at : at + PIECE_BYTES]


def load_part(number: int, part: Part, data: bytes, context: str, sealer: Sealer | None) -> bytes:
    """Return the content of a part from its stored bytes. Raises `Corrupt` unless it is exactly what was written."""
    name = f"{context}/{part_name(number)}"
    check_stored(part, name, data)
    if sealer is not None:
        data = sealer.open(number, name, data)
    return decompress(data, part.bytes, name)


def decompress(data: bytes, size: int, name: str) -> bytes:
    """Return the `size` bytes that `data` holds, and never more. Raises `Corrupt`."""
    reader = zstd.ZstdDecompressor()
    try:
        # One byte more than it may have: a frame of another size is noticed, and none fills the memory.
        content = reader.decompress(data, size + 1)
    except zstd.ZstdError as error:
        raise Corrupt(f"{name} cannot be decompressed: {error}") from None
    if len(content) != size or not reader.eof or reader.unused_data:
        raise Corrupt(f"{name} does not hold the {size} bytes that were written")
    return content
