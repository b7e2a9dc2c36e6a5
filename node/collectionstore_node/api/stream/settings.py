"""The bounds of a stream, and of all of them. Part of the protocol: the server tells them in its first message."""

from __future__ import annotations

from typing import Final

PROTOCOL: Final = 1
MESSAGE_BYTES_MAX: Final = (2 << 20) + (256 << 10)
"""One message of a client: any single operation fits, in JSON too. Decoding one holds the event loop for as long as its
bytes can make it, at most some 10 ms; msgspec's decoder cannot be paused within an operation."""
DECODED_AT_ONCE_BYTES: Final = 64 << 10
"""A larger message of lines is decoded line by line, in as many turns of the loop as that takes."""
LENIENT_BYTES_MAX: Final = 512 << 10
"""In a larger message, one operation that cannot be decoded ends the stream: to look at each costs as much again."""
OPERATIONS_MAX: Final = 1_024
"""Operations of one stream that are not answered: its credits."""
OPERATION_BYTES_MAX: Final = 8 << 20
"""Documents, values and transactions of those operations, as they were sent; a single operation is always allowed."""
LABEL_MAX: Final = 8 << 10
"""Characters of an operation's `traceparent`, and of its `request_id`, as of a header; they take no credit."""
BESIDE_BYTES_MAX: Final = 8 << 10
"""A line of JSON with more than this beside its document or transaction is not kept with it."""
TAG_MAX: Final = (1 << 53) - 1
"""Every language keeps such an integer exactly, JavaScript included."""

ALL_OPERATIONS_MAX: Final = 2_048
"""Operations in flight of all streams. Apart from the requests in flight: an operation holds a fraction of what a
request does, and a few streams must not take the places of all other clients. Both together are fewer than the commands
that may wait on a leader."""
ADDRESS_OPERATIONS_MAX: Final = 1_536
"""From one address; loopback has no share."""

STREAMS_MAX: Final = 1_024
ADDRESS_STREAMS_MAX: Final = 512
"""From one address; loopback has no share."""

TURN_STEPS_MAX: Final = 128
TURN_BYTES_MAX: Final = 128 << 10
"""Operations and messages of one stream in one turn of the loop, and the bytes of the operations; at least one."""
FEED_BYTES: Final = 32 << 10
"""What is parsed before its messages are taken: a read may hold ten thousand tiny ones."""
TURN_READS_MAX: Final = 128
"""Reads that all streams execute in one turn."""
AHEAD_BYTES_MAX: Final = 256 << 10
"""While answers of this size wait, reads of the stream wait, too."""
HELD_BYTES_MIN: Final = 64 << 10
"""Answers that wait for a slow client are counted from this size on."""
PARTIAL_BYTES_MIN: Final = 16 << 10
"""An incomplete message is counted from this size on; also more than the framing of any honest message."""
FLUSH_BYTES: Final = 256 << 10
"""A message of answers ends after the answer that reaches this size."""
ANSWER_BYTES: Final = 64
"""What an answer counts for besides its body."""

STREAM_WATCHES_MAX: Final = 64
"""Watches of one stream."""
WATCH_CREDIT_DEFAULT: Final = 1_000
WATCH_CREDIT_MAX: Final = 1_000_000
"""Events that a watch may send before its client grants more."""

PING_S: Final = 20.0
"""A stream on which nothing has arrived for so long is pinged."""
SILENCE_S: Final = 60.0
"""A stream on which nothing has arrived for so long is closed."""
CLOSE_S: Final = 2.0
"""For the client to answer a close frame."""
SWEEP_S: Final = 1.0
