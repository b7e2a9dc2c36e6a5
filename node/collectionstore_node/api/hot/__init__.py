"""The hot path: small requests for documents and raw values, served without a task, a stream or a parsed message each.

- `heads.py`     reads a request line by a strict pattern, and remembers headers by their bytes
- `request.py`   a request whose body is at hand, and its answer until it is sent; one of them waits by itself, without
  a coroutine (`api.http.direct`)
- `driving.py`   runs a handler in the callbacks of the futures that it waits for
- `surroundings.py`  what a pipeline needs of its connection and of its server
- `pipeline.py`  the requests of one connection: started, answered in order, joined into few writes

Only how bytes become a request and an answer becomes bytes is different here. Between the two are the same dispatcher
and the same handlers, so limits, problems, metrics, traces and the slow log are those of all other requests. Plain
reads and writes of one target, with an idempotency key or without, are served in halves: `Dispatcher.begin` before the
one thing that they wait for, `Dispatcher._end` behind it. With tracing none are, as a span needs the context of a task.

Invariants:
- headers are read by the parser of the general path. What is remembered is the result for exactly the same bytes;
- a request is served in halves only if its bytes were read by that parser and the router before, but for the last part
  of its path, which has none but the characters that need no decoding;
- a request is taken here only as a whole, and only between two requests of the general path. Everything else goes to
  that path as it came, with every byte;
- answers leave in the order of their requests. Requests run beside one another only if all of them are reads
  (RFC 9112 9.3.2), so pipelining changes no result;
- no exception leaves a callback.
"""
