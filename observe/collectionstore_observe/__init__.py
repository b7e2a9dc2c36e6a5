"""Looks at a cluster as someone on call does: Prometheus, the dashboards and the alerts, on a real local cluster."""
