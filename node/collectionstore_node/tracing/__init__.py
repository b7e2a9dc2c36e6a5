"""Traces: the path of a sampled request through the members, as OpenTelemetry spans. Off unless an endpoint is set.

`spans` makes spans; `requests` makes the span of a client request; `exporting` exports them. The spans of a command are
made in `replica.proposal_spans` and `replica.entry_spans`. docs/operate/tracing.md shows the tree.

While traces are off, nothing of OpenTelemetry is imported: callers hold a `Tracing` or None and check for None first.
The modules of this package are imported where they are used, never at the top of a module that runs without traces.
"""
