"""Series of the listening ports. Implements `ports.PortMetrics`."""

from __future__ import annotations

from collections.abc import Callable

from collectionstore_telemetry.metrics.registry import Metrics


class PortSeries:
    """The connections of all ports."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def port(self, port: str, read: Callable[[], int], limit: int) -> None:
        """Show the connections of a port, and their bound."""
        self._metrics.gauge("port_connections", port).set_function(read)
        self._metrics.gauge("port_connections_max", port).set(limit)

    def refused(self, port: str, reason: str) -> None:
        """Count a connection that was not admitted."""
        self._metrics.counter("port_refused_connections_total", port, reason).inc()
