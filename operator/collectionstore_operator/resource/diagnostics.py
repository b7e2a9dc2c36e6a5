"""The fields monitoring and diagnostics of a spec: metrics, logs and profiles."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta, field

from collectionstore_operator.resource.fields import Labels, Part


class Monitoring(Part, frozen=True):
    """Monitoring configures discovery by Prometheus. Members serve their metrics regardless."""

    pod_monitor: Annotated[
        Literal["Enabled", "Disabled"],
        Meta(
            description="podMonitor determines whether the operator creates a PodMonitor for the Prometheus Operator. "
            "Defaults to Disabled."
        ),
    ] = "Disabled"
    labels: Annotated[
        Labels,
        Meta(description="labels are added to the PodMonitor, so that a Prometheus instance can select it."),
    ] = field(default_factory=dict)
    interval_seconds: Annotated[
        int,
        Meta(ge=5, le=3_600, description="intervalSeconds is the scrape interval, in seconds. Defaults to 30."),
    ] = 30
    # No default in the definition: an operator of a version that does not know the field would refuse it.
    tls: (
        Annotated[
            Literal["Required", "Disabled"],
            Meta(
                description="tls determines whether the metrics port has TLS, and asks for a credential with the verb "
                "monitor. The PodMonitor then uses a token of the user <name>-monitor, which the operator makes and "
                "rotates. A change restarts the members, one at a time. Ignored by csctl local. If absent, Disabled."
            ),
        ]
        | None
    ) = None

    @property
    def secured(self) -> bool:
        """Whether the metrics port asks for a credential."""
        return self.tls == "Required"


SlowMilliseconds: TypeAlias = Annotated[int, Meta(ge=0, le=600_000)]


class SlowOperations(Part, frozen=True):
    """SlowOperations are the thresholds of the slow log, in milliseconds; 0 disables a threshold."""

    write: Annotated[
        SlowMilliseconds,
        Meta(
            description="write is the threshold for a log entry, from the proposal of its first command to its "
            "response. Defaults to 500."
        ),
    ] = 500
    read: Annotated[
        SlowMilliseconds,
        Meta(description="read is the threshold for confirming a linearizable read. Defaults to 300."),
    ] = 300
    fsync: Annotated[
        SlowMilliseconds, Meta(description="fsync is the threshold for one sync of the log. Defaults to 100.")
    ] = 100
    apply: Annotated[
        SlowMilliseconds,
        Meta(description="apply is the threshold for applying one batch of committed entries. Defaults to 100."),
    ] = 100
    http: Annotated[
        SlowMilliseconds, Meta(description="http is the threshold for one client request. Defaults to 1000.")
    ] = 1_000


class Diagnostics(Part, frozen=True):
    """Diagnostics configures logging and profiling. A change restarts the members, one at a time."""

    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(
            description="logLevel is the log level at startup. The level of a running member can be changed without a "
            "restart. Defaults to info."
        ),
    ] = "info"
    profiling: Annotated[
        Literal["Enabled", "Disabled"],
        Meta(
            description="profiling determines whether members serve profiles at GET /debug/profile. Defaults to "
            "Disabled."
        ),
    ] = "Disabled"
    slow_milliseconds: Annotated[
        SlowOperations,
        Meta(
            description="slowMilliseconds are the durations, in milliseconds, from which an operation is logged as "
            "slow. 0 disables a threshold."
        ),
    ] = SlowOperations()
