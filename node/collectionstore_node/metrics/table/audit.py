"""Series of the audit log, and of limits of users and collections."""

from __future__ import annotations

from typing import Final

from collectionstore_telemetry.metrics.series import Chapters, Label, counter, gauge

SINKS: Final = ("file", "webhook", "otlp")
_SINK: Final = Label("sink", SINKS)

AUDIT: Final[Chapters] = (
    (
        "Audit log and limits",
        (
            counter(
                "audit_records_total",
                "Records of the audit log that a sink has taken, and that it has lost",
                _SINK,
                Label("result", ("written", "dropped")),
            ),
            counter("audit_failures_total", "Attempts to hand records to a sink that failed", _SINK),
            gauge("audit_sink_failing", "1 while a sink takes no records; absent for those that are off", _SINK),
            gauge("audit_queued_bytes", "Size of the records that a sink has not taken", _SINK),
            gauge("audit_queued_bytes_max", "Bound of the same, from which on records are lost", _SINK),
            counter("audit_refused_total", "Requests refused because their records could be lost"),
            counter(
                "limits_refused_total",
                "Requests and streams refused by the limits of their user or collection, and by the fair share of a "
                "user while the member is under pressure",
                Label("scope", ("user", "collection", "share")),
            ),
        ),
    ),
)
