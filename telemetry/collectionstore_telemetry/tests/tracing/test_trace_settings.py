"""Whether spans are exported, and where, by the standard variables."""

from __future__ import annotations

import subprocess
import sys

import pytest

from collectionstore_telemetry.tracing.settings import TRACES_OFF, TraceSettings, read_trace_settings

BASE = "OTEL_EXPORTER_OTLP_ENDPOINT"
OWN = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({}, id="nothing-said"),
        pytest.param({"OTEL_SERVICE_NAME": "store", "OTEL_TRACES_SAMPLER": "always_on"}, id="no-endpoint"),
        pytest.param({BASE: ""}, id="empty-endpoint"),
        pytest.param({BASE: "http://c:4318", "OTEL_SDK_DISABLED": "TRUE"}, id="disabled"),
        pytest.param({BASE: "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, id="no-exporter"),
    ],
)
def test_nothing_is_traced_unless_an_endpoint_is_configured(environment: dict[str, str]) -> None:
    assert read_trace_settings(environment) == TRACES_OFF


@pytest.mark.parametrize(
    ("environment", "endpoint"),
    [
        pytest.param({BASE: "http://collector:4318"}, "collector:4318", id="base"),
        pytest.param(
            {OWN: "https://user:secret@collector/v1/traces?key=secret"}, "collector", id="own-without-secrets"
        ),
        pytest.param({BASE: "http://a:1", OWN: "http://b:2/x"}, "b:2", id="own-wins"),
        pytest.param({BASE: "http://a:1", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, "a:1", id="protocol"),
    ],
)
def test_an_endpoint_turns_traces_on(environment: dict[str, str], endpoint: str) -> None:
    assert read_trace_settings(environment) == TraceSettings(endpoint=endpoint)


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({BASE: "collector:4317"}, id="no-scheme"),
        pytest.param({BASE: "http://"}, id="no-host"),
        pytest.param({BASE: "http://[::1"}, id="no-url"),
        pytest.param({BASE: "http://c:99999"}, id="no-port"),
        pytest.param({BASE: "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, id="grpc"),
        pytest.param({BASE: "http://c:4318", "OTEL_TRACES_EXPORTER": "console"}, id="console"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_reason_and_not_an_error(environment: dict[str, str]) -> None:
    """The variables are often set for all pods of a cluster: a program must start without traces too."""
    answer = read_trace_settings(environment)
    assert answer.refused
    assert not answer.endpoint


def test_the_queue_has_the_standard_bound() -> None:
    assert read_trace_settings({BASE: "http://c:4318", "OTEL_BSP_MAX_QUEUE_SIZE": "600"}).queue_spans_max == 600


def test_nothing_of_opentelemetry_is_imported_but_by_the_exporter() -> None:
    code = (
        "import sys, collectionstore_telemetry.logs, collectionstore_telemetry.metrics,"
        " collectionstore_telemetry.profiling, collectionstore_telemetry.tracing.lifecycle;"
        "print(sorted(name for name in sys.modules if name.startswith('opentelemetry')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
