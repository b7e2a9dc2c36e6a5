"""Errors of the test tools."""

from __future__ import annotations


class ToolError(Exception):
    """A program that the tests use is missing or failed; shown as one text, without a traceback."""


class ToolUnavailable(ToolError):
    """A program is missing and cannot be obtained here; the text says how to get it."""


class CommandFailed(ToolError):
    """A program exited with an error; the text holds the command and the end of its output."""
