"""Errors of building, starting and stopping the cluster; every text says what to do next."""

from __future__ import annotations


class KubeError(Exception):
    """Base of all; shown as one line, without a traceback."""


class PrerequisiteMissing(KubeError):
    """Something must be installed or allowed on this machine first."""


class ComponentFailed(KubeError):
    """A component exited or did not become ready; the text names its log."""
