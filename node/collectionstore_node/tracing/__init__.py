"""Traces: the way of a sampled request through the members, as OpenTelemetry spans. Off unless an endpoint is set.

`wanted` says whether the environment asks for spans; `exporting` makes them leave; `spans` makes them; `requests` is
the one of a client's request; `active` is what log lines and exemplars read. What is traced of a command is in
`replica.proposal_spans` and `replica.entry_spans`. docs/tracing.md shows the tree.

While it is off nothing of OpenTelemetry is imported: whoever traces holds a `Tracing` or None, and asks for None
first. Importing this package costs nothing; its modules are imported where they are used.
"""
