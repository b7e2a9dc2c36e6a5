"""The pipelined stream: many operations in flight on one WebSocket (RFC 6455). docs/reference/stream.md describes it.

- `endpoint.py`    the handler of `/api/v1/stream`: who may open one, how many there are, pings and silence
- `session.py`     one connection: operations, credits, answers, how it ends
- `incoming.py`    from the bytes of a client to its operations
- `outgoing.py`    from answers to messages, as its client takes them
- `execution.py`   an operation from its fields to its answer, in callbacks: no task for each
- `requests.py`    what is a request in all but its form, by the handlers of the HTTP API: updates, queries, indexes
- `reads.py`       single reads, many with one confirmation, and lists
- `watching.py`    watches, and the events that they are granted
- `admission.py`   operations in flight, of all streams and of one address. Pure
- `flight.py`      an operation while it is in flight
- `finished.py`    counts what was answered
- `rendering.py`   outcomes and problems as answers
- `conversion.py`  the fields of operations as targets, preconditions and documents. Pure
- `operations.py`  what is sent: operations, answers, events. Pure
- `codec.py`       messages in msgpack and in JSON. Pure
- `websocket.py`   frames and the handshake. Pure, but for the sink that aiohttp's reader fills
- `settings.py`    the bounds

These are many modules for one room, because they share one connection's state and bounds.

Invariants:
- an operation that was taken gets exactly one answer, unless the connection ends before; then its outcome is unknown
  to the client, and an operation that changes something runs to its end;
- nothing is taken from a client that does not take its answers, and nothing beyond its credits;
- no turn of the loop takes more operations than `settings` says, however they arrive.
"""
