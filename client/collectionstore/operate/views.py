"""What people see of a cluster: headline, members, conditions, plan, certificates, recovery. From JSON, no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.text import Text

from collectionstore.operate.access import members_of
from collectionstore.operate.goals import condition, status_of
from collectionstore.operate.output import NOTHING, Column, table

GOOD_WHEN_FALSE: Final = frozenset({"Progressing", "Degraded", "Paused"})
ROLE_STYLES: Final = {"Leader": "bold green", "Unknown": "yellow", "None": "dim"}

MEMBERS: Final = (
    Column("NAME"),
    Column("READY"),
    Column("ROLE"),
    Column("LAG", right=True, drop=3),
    Column("VERSION", drop=4),
    Column("UPDATED", drop=6),
    Column("RESTARTS", right=True, drop=7),
    Column("CERTIFICATE", drop=8),
    Column("MESSAGE", wraps=True, drop=1),
)
WIDE: Final = (
    *MEMBERS[:-1],
    Column("NODE ID", drop=10),
    Column("VOLUME", drop=11),
    Column("ADDRESS", drop=12),
    MEMBERS[-1],
)
CONDITIONS: Final = (
    Column("CONDITION"),
    Column("STATUS"),
    Column("REASON", drop=1),
    Column("MESSAGE", wraps=True),
)
STEPS: Final = (
    Column("#", right=True),
    Column("STEP"),
    Column("MEMBER OR OBJECT", wraps=True),
    Column("DISRUPTIVE"),
    Column("WAITS FOR", wraps=True),
    Column("REASON", wraps=True, drop=1),
)
CERTIFICATES: Final = (
    Column("CERTIFICATE"),
    Column("EXPIRES"),
    Column("IN", right=True),
    Column("AUTHORITY", drop=2),
    Column("SERIAL", drop=3),
)
SURVIVORS: Final = (
    Column("SURVIVOR"),
    Column("KNOWN"),
    Column("TERM", right=True),
    Column("INDEX", right=True),
    Column("COMMITTED", right=True, drop=3),
    Column("REVISION", right=True, drop=2),
    Column("MESSAGE", wraps=True, drop=1),
)
CLUSTERS: Final = (
    Column("NAMESPACE", drop=0),
    Column("NAME"),
    Column("MEMBERS", right=True),
    Column("LEADER"),
    Column("TOLERATES", right=True, drop=3),
    Column("VERSION", drop=2),
    Column("READY"),
    Column("REASON", wraps=True, drop=1),
)


def headline(resource: Mapping[str, Any]) -> Text:
    """Return the summary line: Ready, members, leader and fault tolerance."""
    status = status_of(resource)
    is_ready = condition(resource, "Ready").get("status") == "True"
    text = Text(str(resource["metadata"]["name"]), style="bold")
    text.append("  ")
    text.append("Ready" if is_ready else "not Ready", style="green" if is_ready else "yellow")
    leader = f"{status['leader']} leads in term {status.get('term')}" if status.get("leader") else "no leader"
    tolerance = int(status.get("faultTolerance") or 0)
    failures = f"tolerates {tolerance or 'no'} failure{'s' if tolerance > 1 else ''}"
    text.append(f"  {status.get('membersSummary') or '0/0'} members, {leader}, {failures}")
    return text


def status_view(resource: Mapping[str, Any], *, place: str, width: int, wide: bool, now: datetime) -> RenderableType:
    """Return the whole status."""
    if not status_of(resource):
        name = str(resource["metadata"]["name"])
        return Group(
            Text.assemble((name, "bold"), ("  no status", "yellow")),
            Text(f"No operator has seen this resource: does one watch its {place}?"),
        )
    parts: list[RenderableType] = [headline(resource), Text(_where(resource, place), style="dim"), Text()]
    parts += [members_view(resource, width=width, wide=wide, now=now), Text(), Text(configuration_line(resource))]
    parts += [Text(), conditions_view(resource, width=width), Text(), plan_view(resource)]
    recovery = status_of(resource).get("recovery")
    if recovery and recovery.get("phase") not in ("", "Finished"):
        parts += [Text(), recovery_view(recovery, width=width)]
    return Group(*parts)


def members_view(resource: Mapping[str, Any], *, width: int, wide: bool, now: datetime) -> RenderableType:
    """Return one line per member."""
    columns = WIDE if wide else MEMBERS
    return table(columns, [_member_row(one, columns, now) for one in members_of(dict(resource))], width=width)


def conditions_view(resource: Mapping[str, Any], *, width: int) -> RenderableType:
    """Return one line per condition."""
    rows = [
        (
            Text(str(one.get("type"))),
            Text(str(one.get("status")), style=_condition_style(one)),
            Text(str(one.get("reason") or "")),
            Text(str(one.get("message") or "")),
        )
        for one in status_of(resource).get("conditions") or ()
    ]
    return table(CONDITIONS, rows, width=width)


def configuration_line(resource: Mapping[str, Any]) -> str:
    """Return the Raft configuration; in a joint one both sets of voters, each of which needs a majority."""
    configuration = status_of(resource).get("configuration") or {}
    voters = ", ".join(configuration.get("voters") or ()) or "none"
    text = f"Configuration {configuration.get('index', 0)}: "
    if configuration.get("joint"):
        text += f"joint, voters {', '.join(configuration.get('outgoing') or ())} to {voters}"
    else:
        text += f"voters {voters}"
    if configuration.get("learners"):
        text += f"; learners {', '.join(configuration['learners'])}"
    return text


def plan_view(resource: Mapping[str, Any]) -> RenderableType:
    """Return the steps that the operator has published, with what blocks them."""
    steps = status_of(resource).get("plan") or ()
    if not steps:
        return Text("Plan: nothing to do")
    lines = [Text("Plan:")]
    for one in steps:
        line = Text("  ")
        line.append(f"{one.get('step', '')} {one.get('subject', '')}".strip(), style="bold")
        line.append(f"  {one.get('reason', '')}")
        if one.get("blockedBy"):
            line.append(f"; blocked: {one['blockedBy']}", style="yellow")
        lines.append(line)
    if status_of(resource).get("stepsOmitted"):
        lines.append(Text(f"  and {status_of(resource)['stepsOmitted']} more"))
    return Group(*lines)


def preview_view(preview: Mapping[str, Any], *, name: str, width: int) -> RenderableType:
    """Return what a change would do: the changed fields, and the steps as a table."""
    parts: list[RenderableType] = [Text(f"{name} would be {preview['outcome']}.")]
    parts += [Text(f"  {line}") for line in preview["changes"]]
    steps = preview["steps"]
    parts.append(Text())
    parts.append(steps_view(steps, width=width) if steps else Text("Plan: nothing to do"))
    if preview.get("assumed"):
        parts += [Text(), Text(f"Assumed: {'; '.join(preview['assumed'])}.", style="dim")]
    return Group(*parts)


def steps_view(steps: Sequence[Mapping[str, Any]], *, width: int) -> RenderableType:
    """Return the steps of a plan as a table: order, what, which member, disruptive or not, what it waits for."""
    rows = [
        (
            Text(str(one["order"])),
            Text(str(one["step"]), style="bold"),
            Text(str(one["subject"] or NOTHING)),
            Text("yes", style="yellow") if one["disruptive"] else Text("no"),
            Text(str(one["waitsFor"] or NOTHING)),
            Text(str(one["reason"])),
        )
        for one in steps
    ]
    return table(STEPS, rows, width=width)


def certificates_view(resource: Mapping[str, Any], *, width: int, now: datetime) -> RenderableType:
    """Return the certificates of the cluster with their expiry; no key is in a status."""
    status = status_of(resource)
    rows, lines = [], []
    for kind, name in (("authority", "authority"), ("peerAuthority", "authority of peers")):
        authority = status.get(kind) or {}
        if kind == "authority" or authority.get("key"):
            lines.append(_rotation(name, authority))
        for shown, key, end in ((name, "key", "expires"), (f"other {name}", "otherKey", "otherExpires")):
            if authority.get(key):
                rows.append(_certificate_row(shown, authority.get(end), authority[key], "", now))
    for one in members_of(dict(resource)):
        if one.get("certificateExpires"):
            signer, serial = str(one.get("certificateAuthority") or ""), str(one.get("certificateSerial") or "")
            rows.append(_certificate_row(one["name"], one["certificateExpires"], signer, serial, now))
    return Group(table(CERTIFICATES, rows, width=width), Text(), *lines)


def _rotation(name: str, authority: Mapping[str, Any]) -> Text:
    phase = authority.get("phase") or "none"
    meaning = {
        "Steady": "one key is trusted",
        "Trusting": "members are to trust the next key, too",
        "Reissuing": "the new key signs, certificates of the old one are replaced",
    }.get(phase, "there is no authority yet")
    key = "authority's key" if name == "authority" else f"key of the {name}"
    return Text(f"Rotation of the {key}: {phase}, {meaning}")


def recovery_view(recovery: Mapping[str, Any], *, width: int) -> RenderableType:
    """Return what is left of a lost quorum, the survivor with the most up-to-date log first, and the phase."""
    rows = [
        (
            Text(str(one.get("name"))),
            Text("yes") if one.get("known") else Text("no", style="yellow"),
            *(Text(_shown(one.get(key))) for key in ("lastLogTerm", "lastIndex", "commitIndex", "revision")),
            Text(str(one.get("message") or "")),
        )
        for one in recovery.get("survivors") or ()
    ]
    lines: list[RenderableType] = [Text(f"Quorum lost: {recovery.get('phase') or 'Offered'}", style="bold red")]
    lines += [Text(f"  {recovery[key]}") for key in ("message", "waitingFor") if recovery.get(key)]
    if recovery.get("lost"):
        lines.append(Text(f"  Gone with their disks: {', '.join(recovery['lost'])}"))
    lines += [table(SURVIVORS, rows, width=width)] if rows else [Text("No survivor: the data can come from a backup.")]
    lines.append(Text(f"Nonce: {recovery.get('nonce') or NOTHING}"))
    return Group(*lines)


def clusters_view(resources: Sequence[Mapping[str, Any]], *, width: int, namespaces: bool) -> RenderableType:
    """Return one line per cluster."""
    columns = CLUSTERS if namespaces else CLUSTERS[1:]
    rows = []
    for one in resources:
        status, ready = status_of(one), condition(one, "Ready")
        good = ready.get("status") == "True"
        row = [
            Text(str(one["metadata"].get("namespace") or NOTHING)),
            Text(str(one["metadata"]["name"])),
            Text(str(status.get("membersSummary") or NOTHING)),
            Text(str(status.get("leader") or NOTHING)),
            Text(_shown(status.get("faultTolerance"))),
            Text(str(status.get("version") or NOTHING)),
            Text(str(ready.get("status") or "Unknown"), style="green" if good else "yellow"),
            Text(str(ready.get("reason") or NOTHING)),
        ]
        rows.append(row if namespaces else row[1:])
    return table(columns, rows, width=width)


def until(timestamp: object, now: datetime) -> str:
    """Return how long it is until a time of RFC 3339: `89 d`, `5 h`, `12 min`, `expired`."""
    if not timestamp:
        return NOTHING
    seconds = (datetime.fromisoformat(str(timestamp).replace("Z", "+00:00")) - now).total_seconds()
    if seconds < 0:
        return "expired"
    if seconds < 7_200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3_600:.0f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} d"


def utc_now() -> datetime:
    """Return the present time."""
    return datetime.now(UTC)


def _where(resource: Mapping[str, Any], place: str) -> str:
    status = status_of(resource)
    parts = [place, *([f"version {status['version']}"] if status.get("version") else [])]
    if status.get("clusterID"):
        parts.append(f"cluster ID {status['clusterID']}")
    return ", ".join(parts)


def _member_row(one: Mapping[str, Any], columns: Sequence[Column], now: datetime) -> list[Text]:
    role = str(one.get("role") or NOTHING)
    expires = until(one.get("certificateExpires"), now)
    cells = {
        "NAME": Text(str(one["name"])),
        "READY": Text("yes", style="green") if one.get("ready") else Text("no", style="red"),
        "ROLE": Text(role, style=ROLE_STYLES.get(role, "")),
        # Of a member that does not answer it is not known.
        "LAG": Text(str(one.get("lag", 0)) if one.get("version") else NOTHING),
        "VERSION": Text(str(one.get("version") or NOTHING)),
        "UPDATED": Text("yes") if one.get("updated") else Text("no", style="yellow"),
        "RESTARTS": Text(str(one.get("restarts", 0))),
        "CERTIFICATE": Text(expires, style="red" if expires == "expired" else ""),
        "NODE ID": Text(str(one.get("nodeID") or NOTHING)),
        "VOLUME": Text(str(one.get("volume") or NOTHING)),
        "ADDRESS": Text(str(one.get("address") or NOTHING)),
        "MESSAGE": Text(str(one.get("message") or ""), style="yellow"),
    }
    return [cells[column.title] for column in columns]


def _certificate_row(name: str, expires: object, authority: str, serial: str, now: datetime) -> tuple[Text, ...]:
    left = until(expires, now)
    style = "red" if left == "expired" else "yellow" if left.endswith("min") else ""
    return (Text(name), Text(str(expires or NOTHING)), Text(left, style=style), Text(authority), Text(serial))


def _condition_style(one: Mapping[str, Any]) -> str:
    if one.get("status") == "Unknown":
        return "yellow"
    good = "False" if one.get("type") in GOOD_WHEN_FALSE else "True"
    return "green" if one.get("status") == good else "yellow"


def _shown(value: object) -> str:
    return NOTHING if value in (None, "") else str(value)
