"""The members this node sends to: one queue and one renewed connection each, and their addresses."""
