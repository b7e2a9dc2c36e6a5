"""Traces of the reconcile loop: a span for each round, with one for each of its steps and actions.

`rounds` makes the spans; `exporting` exports them, and is imported only where traces are on; `starting` connects both
to the process. docs/operate/tracing.md shows the tree.
"""
