"""Errors of the test tools."""

from __future__ import annotations


class ToolUnavailable(Exception):
    """A program that the tests need is missing or failed; the text names it, what it printed and how to get it."""
