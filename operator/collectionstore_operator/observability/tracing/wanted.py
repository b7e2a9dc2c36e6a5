"""Whether spans are wanted, by the standard variables; nothing of OpenTelemetry is imported to find out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import urlsplit


class Wanted(NamedTuple):
    """What the environment asks for. Nothing when both texts are empty."""

    endpoint: str = ""
    """Host and port of the receiver, without path and credentials, for people."""
    refused: str = ""
    """Why there will be no traces although somebody asked for them."""


NOT_WANTED: Final = Wanted()


def wanted(environment: Mapping[str, str]) -> Wanted:
    """Return what is asked for: nothing unless an endpoint is configured. Never raises: it runs without traces too."""
    read = environment.get
    endpoint = read("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or read("OTEL_EXPORTER_OTLP_ENDPOINT")
    exporter = read("OTEL_TRACES_EXPORTER") or "otlp"
    if not endpoint or exporter == "none" or read("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return NOT_WANTED
    protocol = read("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or read("OTEL_EXPORTER_OTLP_PROTOCOL") or "http/protobuf"
    if exporter != "otlp" or protocol != "http/protobuf":
        return Wanted(refused=f"exporter {exporter} over {protocol} is not here; otlp over http/protobuf is")
    try:
        url = urlsplit(endpoint)
        address = f"{url.hostname}:{url.port}" if url.port else str(url.hostname)
    except ValueError:
        return Wanted(refused="the endpoint is not a URL")
    if url.scheme not in ("http", "https") or not url.hostname:
        return Wanted(refused="the endpoint is not an http:// or https:// URL")
    return Wanted(endpoint=address)
