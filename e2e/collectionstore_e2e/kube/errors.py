"""Errors of building, starting and stopping the cluster; every message says what to do next."""

from __future__ import annotations


class KubeError(Exception):
    """Base of all; shown as one line, without a traceback."""


class PrerequisiteMissing(KubeError):
    """This machine lacks a program or a permission."""


class ComponentFailed(KubeError):
    """A component exited or did not become ready; the message names its log."""
