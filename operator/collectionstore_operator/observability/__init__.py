"""Logs, metrics, traces, probes and debug pages of the operator, on top of the shared telemetry."""
