"""The environment variables of the audit log of a node."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from collectionstore_operator.resource.auditing import Audit, AuditRule

PREFIX: Final = "COLLECTIONSTORE_AUDIT_"
DIRECTORY: Final = "audit"
"""Of the files, beside the data directory."""


def audit_settings(audit: Audit | None) -> dict[str, str]:
    """Return the variables that are equal for all members; none without a log, so that no other revision changes."""
    if audit is None:
        return {}
    settings = {"BLOCKING": audit.blocking, "READS": _fraction(audit.reads_per_mille)}
    if audit.rules:
        settings["RULES"] = json.dumps([_rule(one) for one in audit.rules], separators=(",", ":"))
    if audit.otlp:
        settings["OTLP"] = "Enabled"
    if audit.files is not None:
        settings["FILE_BYTES"] = str(audit.files.megabytes << 20)
        settings["FILES"] = str(audit.files.count)
        settings["SYNC"] = audit.files.sync
    webhook = audit.webhook
    if webhook is not None:
        settings["WEBHOOK"] = webhook.url
        settings |= {"WEBHOOK_TOKEN_FILE": webhook.token_file} if webhook.token_file else {}
        settings |= {"WEBHOOK_CA": webhook.ca_file} if webhook.ca_file else {}
    return {PREFIX + name: value for name, value in settings.items()}


def audit_place(settings: Mapping[str, str], data_dir: str) -> dict[str, str]:
    """Return the variable with the directory of the files, if `settings` of all members say that there are any."""
    if f"{PREFIX}FILES" not in settings:
        return {}
    return {f"{PREFIX}DIR": f"{data_dir.rstrip('/').rpartition('/')[0]}/{DIRECTORY}"}


def _rule(rule: AuditRule) -> dict[str, Any]:
    given: dict[str, Any] = {"take": rule.per_mille / 1_000, "content": rule.content}
    names = {"users": rule.users, "verbs": rule.verbs, "resources": rule.resources}
    return {name: list(value) for name, value in names.items() if value} | given


def _fraction(per_mille: int) -> str:
    return "1" if per_mille == 1_000 else f"0.{per_mille:03}"
