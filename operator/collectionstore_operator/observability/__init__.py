"""Logs, metrics, traces, probes and debug pages of the operator."""
