"""Single sample values of rendered metrics, for tests that poll them."""

from __future__ import annotations

from collectionstore_telemetry.metrics import Metrics


def sample_value(metrics: Metrics, name: str, **labels: str) -> float | None:
    """Return the value of a sample, named in full, or None. Labels in the order of the table."""
    shown = ",".join(f'{label}="{value}"' for label, value in labels.items())
    expected = f"{name}{{{shown}}}" if shown else name
    lines = (line.rpartition(" ") for line in metrics.render().splitlines() if not line.startswith("#"))
    return next((float(value) for sample, _, value in lines if sample == expected), None)
