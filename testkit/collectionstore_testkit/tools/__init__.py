"""Programs that tests and benchmarks run: Chromium, Helm, Prometheus, promtool and wrk; wheels that uv builds."""
