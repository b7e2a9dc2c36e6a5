"""What JSON documents mean to queries: values in one order, dotted paths, filters, projections. Pure.

The semantics are MongoDB's, as its manual and its tests define them; where they differ on purpose, the page
docs/reference/queries.md says so.
"""
