"""Errors of local clusters."""

from __future__ import annotations


class ClusterFailed(Exception):
    """A cluster did not reach the requested state; the text contains the output of csctl."""
