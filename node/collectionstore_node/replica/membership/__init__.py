"""Membership changes, leadership transfer and bootstrap, as the leader executes them."""
