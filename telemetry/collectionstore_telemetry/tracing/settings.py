"""Whether to export spans, and where, by OpenTelemetry's standard variables; imports nothing of OpenTelemetry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit

QUEUE_SPANS: Final = 2_048
"""OpenTelemetry's default of OTEL_BSP_MAX_QUEUE_SIZE."""


class TraceSettings(NamedTuple):
    """What the environment configures. Traces are off if `endpoint` is empty."""

    endpoint: str = ""
    """Host and port of the receiver, without path and credentials: it is logged."""
    refused: str = ""
    """Why traces stay off although an endpoint is configured."""
    queue_spans_max: int = QUEUE_SPANS


TRACES_OFF: Final = TraceSettings()


def read_trace_settings(environment: Mapping[str, str]) -> TraceSettings:
    """Return what the environment configures; off unless it names an endpoint.

    Never raises: the variables are often set for all pods of a cluster, and a program must start without traces too.
    """
    read = environment.get
    # A variable of the signal overrides the general one (OpenTelemetry specification, OTLP exporter configuration).
    endpoint = read("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or read("OTEL_EXPORTER_OTLP_ENDPOINT")
    exporter = read("OTEL_TRACES_EXPORTER") or "otlp"
    if not endpoint or exporter == "none" or read("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return TRACES_OFF
    protocol = read("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or read("OTEL_EXPORTER_OTLP_PROTOCOL") or "http/protobuf"
    if exporter != "otlp" or protocol != "http/protobuf":
        return TraceSettings(refused=f"{exporter} over {protocol} is not supported; only otlp over http/protobuf is")
    try:
        url = urlsplit(endpoint)
        address = f"{url.hostname}:{url.port}" if url.port else str(url.hostname)
    except ValueError:
        return TraceSettings(refused="the endpoint is not a URL")
    if url.scheme not in ("http", "https") or not url.hostname:
        return TraceSettings(refused="the endpoint is not an http:// or https:// URL")
    queue = read("OTEL_BSP_MAX_QUEUE_SIZE", "")
    spans_max = int(queue) if queue.isascii() and queue.isdigit() else QUEUE_SPANS
    return TraceSettings(endpoint=address, queue_spans_max=spans_max)
