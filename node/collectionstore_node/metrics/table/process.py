"""Series of the process itself."""

from __future__ import annotations

from typing import Final

from collectionstore_node.metrics.table.buckets import LAG_SECONDS
from collectionstore_telemetry.metrics.series import Label, counter, gauge, histogram, info

STALLS: Final = ("event_loop", "fsync", "apply")
SPANS: Final = ("exported", "failed", "dropped")
PURPOSES: Final = ("peers", "clients", "authority", "client_authority", "given")
_ONE = "one value for each process"

PROCESS: Final = (
    (
        "Process",
        (
            info(
                "build",
                "Version, cluster ID and member name of this process",
                Label("version", bound=_ONE),
                Label("cluster_id", bound=_ONE),
                Label("member", bound=_ONE),
            ),
            histogram(
                "event_loop_lag_seconds",
                "Delay of event loop ticks; a stall shorter than the tick interval may be missed",
                buckets=LAG_SECONDS,
            ),
            histogram(
                "event_loop_held_seconds",
                "Delay of event loop ticks without the time that its thread waited for a processor, where the kernel "
                "tells it: what this process did itself",
                buckets=LAG_SECONDS,
            ),
            gauge("event_loop_tasks", "Unfinished tasks of the event loop"),
            counter(
                "watchdog_stalls_total",
                "Stalls longer than the longest election timeout",
                Label("kind", STALLS),
            ),
            counter(
                "watchdog_step_downs_total",
                "Times that this member resigned leadership because of a stall",
                Label("reason", STALLS),
            ),
            counter("tracing_spans_total", "Spans by export result; 0 while traces are off", Label("result", SPANS)),
            gauge(
                "tls_certificate_expiry_timestamp_seconds",
                "Expiry of the certificate in use; absent for clients without TLS",
                Label("purpose", PURPOSES),
            ),
            gauge(
                "tls_certificate_lifetime_seconds",
                "From the beginning to the end of the validity of that certificate",
                Label("purpose", PURPOSES),
            ),
        ),
    ),
)
