"""Alerts and recording rules for Prometheus, as data.

`rules` says what one is, `objectives` what is promised to clients, the others list the alerts by what they are about,
and `catalogue` puts all into one file.
"""
