"""Detects members whose state differs: digests are compared once a second, a divergent member is fenced."""
