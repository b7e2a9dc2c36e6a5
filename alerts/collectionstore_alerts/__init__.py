"""Alerts and recording rules for Prometheus, as data: `rules` says what one is, the other modules list them by reader."""
