"""Series of the process itself."""

from __future__ import annotations

from typing import Final

from collectionstore_node.metrics.table.buckets import LAG_SECONDS
from collectionstore_telemetry.metrics.series import Label, counter, gauge, histogram, info

STALLS: Final = ("event_loop", "fsync", "apply")
SPANS: Final = ("exported", "failed", "dropped")
PURPOSES: Final = ("peers", "clients")
_ONE = "one value for each process"

PROCESS: Final = (
    (
        "Process",
        (
            info(
                "build",
                "Which build runs as which member",
                Label("version", bound=_ONE),
                Label("cluster_id", bound=_ONE),
                Label("member", bound=_ONE),
            ),
            histogram(
                "event_loop_lag_seconds",
                "How late ticks are; a stall shorter than the time between two of them may hide",
                buckets=LAG_SECONDS,
            ),
            gauge("event_loop_tasks", "Tasks of the event loop that are not done"),
            counter(
                "watchdog_stalls_total",
                "Times that something was stuck for longer than the longest election timeout",
                Label("kind", STALLS),
            ),
            counter(
                "watchdog_step_downs_total",
                "Times that this leader stepped down because something in it was stuck",
                Label("reason", STALLS),
            ),
            counter(
                "tracing_spans_total", "Spans by what became of them; 0 while traces are off", Label("result", SPANS)
            ),
            gauge(
                "tls_certificate_expiry_timestamp_seconds",
                "When the certificate expires that this node shows; none for clients without TLS",
                Label("purpose", PURPOSES),
            ),
        ),
    ),
)
