"""Alerts and recording rules for Prometheus, as data.

`rules` defines the types, `objectives` the service level objectives, the others the alerts by subject, and `catalogue`
the file that Prometheus loads.
"""
