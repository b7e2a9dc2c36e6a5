"""What can go wrong while the cluster is built, started or stopped; every text says what to do next."""

from __future__ import annotations


class KubeError(Exception):
    """Base of all; shown as one line, without a traceback."""


class PrerequisiteMissing(KubeError):
    """This computer lacks something that must be installed or allowed first."""


class CommandFailed(KubeError):
    """A program that was run to its end failed; the text holds the end of what it printed."""


class ComponentFailed(KubeError):
    """A component stopped or did not become ready; the text names its log."""
