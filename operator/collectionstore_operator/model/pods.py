"""Judgements on a pod that both the plan and the status need. Pure."""

from __future__ import annotations

from collectionstore_operator.model.observed import Pod


def outdated(pod: Pod, desired_revision: str) -> str:
    """Return why a pod must be restarted; empty when it need not be."""
    if not pod.revision:
        return "it was created from a pod template that somebody had changed"
    if pod.revision != desired_revision:
        return f"it runs revision {pod.revision}, the desired revision is {desired_revision}"
    return pod.restart_reason
