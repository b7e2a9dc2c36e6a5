"""Programs that tests and benchmarks run: Chromium, Helm, Prometheus, promtool and wrk, and the wheels that uv builds."""
