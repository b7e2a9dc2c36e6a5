"""Set-up of traces, off unless an OTLP endpoint is configured; spans themselves are made by each program.

`settings` reads the standard environment variables; `lifecycle` starts and stops the exporter in `export`; `active` is
the current span, for log lines, exemplars and outgoing requests.

While traces are off, nothing of OpenTelemetry is imported: that takes half a second. Only `export` imports it, so it is
imported where a start-up function needs it, never at the top of another module.
"""
