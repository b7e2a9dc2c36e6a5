"""Programs that the tests run: Helm, Prometheus and promtool, and the wheels that uv builds."""
