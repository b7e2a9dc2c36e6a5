"""Tests monitoring end to end: Prometheus, the dashboards and the alerts, on a real local cluster."""
