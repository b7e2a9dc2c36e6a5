"""Programs that tests and benchmarks run: Helm, Prometheus, promtool and wrk, and the wheels that uv builds."""
