"""What was found as rows with their bounds, and as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from statistics import median

import msgspec

from collectionstore_bench.backup.archive_lag import ArchiveLag
from collectionstore_bench.backup.measurements import Phase, Phases, joined
from collectionstore_bench.backup.options import Options
from collectionstore_bench.backup.outages import GRACE_S, Recovery
from collectionstore_bench.lifecycle.trials import Finding
from collectionstore_bench.machine import Machine
from collectionstore_bench.tables import table

P99_RATIO_MAX = 1.2
"""Write p99 during a backup against without."""


def of_phases(phases: Phases, options: Options) -> list[Finding]:
    """Return what clients notice of a backup, and what it costs."""
    note = f"{options.rounds} rounds, {options.rate:g} writes/s to all members"
    found = []
    for name, kind in (("without a backup", phases.without), ("during a backup", phases.during)):
        one = joined(kind)
        found += [
            Finding(f"write {name}, p50", one.percentile(0.5) * 1000, "ms", note=note),
            Finding(f"write {name}, p99", one.percentile(0.99) * 1000, "ms", note=f"{len(one.seconds)} writes"),
            Finding(f"writes {name} that failed", one.failed, "", 0),
        ]
    ratios = phases.ratios(0.99)
    spread = f"median of the rounds; least {min(ratios):.2f}, greatest {max(ratios):.2f}"
    together = joined(phases.during).percentile(0.99) / joined(phases.without).percentile(0.99)
    return [
        *found,
        Finding("write p99 during a backup by that without", median(ratios), "", P99_RATIO_MAX, spread),
        Finding("the same, of all rounds together", together, ""),
        Finding("backup under that load", median(phases.mib_s), "MiB/s", note="as fast as clients let it"),
        Finding("processor time of the member that is read", median(phases.member_ms_per_mib), "ms/MiB"),
    ]


def of_archive(lag: ArchiveLag) -> list[Finding]:
    """Return how far the archive was behind."""
    note = f"{lag.written_per_s:,.0f} writes/s acknowledged, {lag.samples} samples"
    return [
        Finding("archive lag, median", lag.median_s, "s", note=note),
        Finding("archive lag, worst", lag.worst_s, "s", note=note),
    ]


def of_recovery(found: Recovery) -> list[Finding]:
    """Return how long a recovery from a lost quorum took."""
    note = "from the nonce in the spec"
    grace = f"{GRACE_S} s of them the grace time"
    return [
        Finding("quorum lost: recovery offered", found.offered_s, "s", note=grace),
        Finding("quorum lost: next acknowledged write", found.write_s, "s", note=note),
        Finding("quorum lost: three members vote, Ready", found.whole_s, "s", note=note),
    ]


def page(machine: Machine, options: Options, findings: Sequence[Finding]) -> str:
    """Return the printed form."""
    rows = [
        (
            one.what,
            shown(one),
            "" if one.bound is None else f"{one.bound:g} {one.unit}".rstrip(),
            "" if one.bound is None else ("met" if one.met else "MISSED"),
            one.note,
        )
        for one in findings
    ]
    limit = f"{options.max_bytes_per_second} bytes/s" if options.max_bytes_per_second else "none"
    settings = (
        f"settings  parts {', '.join(options.parts)}; state of {options.megabytes} MiB, {options.documents} documents; "
        f"limit of the backup: {limit}{'; the program on a processor of its own' if options.own_core else ''}"
    )
    return "\n".join(
        [*machine.lines(), settings, "", table(("what", "measured", "bound", "", "note"), rows, right=(1, 2))]
    )


def content(machine: Machine, options: Options, findings: Sequence[Finding], phases: Phases | None) -> str:
    """Return everything that was measured as JSON: each round, not only medians."""
    rounds = []
    if phases is not None:
        for without, during, mib_s in zip(phases.without, phases.during, phases.mib_s, strict=True):
            rounds.append({"without": _latencies(without), "during": _latencies(during), "backup_mib_s": mib_s})
    found = {
        "machine": asdict(machine),
        "settings": asdict(options),
        "findings": [asdict(one) | {"met": one.met} for one in findings],
        "rounds": rounds,
    }
    return msgspec.json.format(json.dumps(found), indent=2)


def shown(one: Finding) -> str:
    """Return a value with its unit."""
    return f"{one.value:.{3 if one.unit == 's' else 2}f} {one.unit}".rstrip() if one.unit else f"{one.value:.4g}"


def _latencies(phase: Phase) -> dict[str, float]:
    shares = {"p50_ms": 0.5, "p90_ms": 0.9, "p99_ms": 0.99, "max_ms": 1.0}
    found = {name: phase.percentile(share) * 1000 for name, share in shares.items()}
    return {"writes": len(phase.seconds), "failed": phase.failed, **found}
