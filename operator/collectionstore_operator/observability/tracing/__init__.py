"""Traces of the loop: a span per round, with one for each of its steps and actions. Off unless an endpoint is set.

`wanted` says whether the environment asks for spans; `exporting` makes them leave; `rounds` makes them; `active` is
what log lines and requests to nodes carry. While it is off nothing of OpenTelemetry is imported. docs/tracing.md shows
the tree.
"""
