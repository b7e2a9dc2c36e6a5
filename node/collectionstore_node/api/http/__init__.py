"""HTTP's messages: what every handler shares. Knows the store as `service.Store` only, and no handler.

- `dispatcher.py` `router.py`  the function around every handler; path to handler
- `direct.py`       requests in two halves, around the one thing that they wait for, without a coroutine
- `call.py`         one request as a handler sees it, and what all handlers share
- `bodies.py` `json_bodies.py` `json_windows.py`  how a body arrives; strict JSON, in steps if large
- `names.py` `options.py` `cursors.py`  the path and the query
- `preconditions.py` `idempotency.py` `request_ids.py`  headers
- `answers.py` `problems.py` `refusals.py`  responses, and every refusal: code, status, whether to retry, the outcome
- `overload_answers.py`  the refusals of an overload, rendered once for many
- `limits.py`       bounds on a request as a message
- `instruments.py`  interfaces for metrics, traces and diagnostics

Nineteen modules, more than elsewhere: each is one part of an HTTP message, and a room below would hold one or two.
"""
