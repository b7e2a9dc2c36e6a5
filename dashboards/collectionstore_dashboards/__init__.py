"""Grafana dashboards, made from code: what each page shows (`pages/`) and how that is written down.

`queries` spells PromQL, `panels` and `frame` draw with the SDK, `catalogue` lists the pages, `linting` holds the
conventions.
"""
