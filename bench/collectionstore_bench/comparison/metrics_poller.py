"""Ask a metrics port for /metrics and /health in turns, from a separate process, and print the latencies.

Not from the load generator: its busy loop would be measured as well. One connection is kept, as by Prometheus.
Prints JSON: `scrape` and `health` in seconds, and the bytes of the last scrape.
"""

from __future__ import annotations

import http.client
import json
import sys
import time

EVERY_S = 0.25
TIMEOUT_S = 10.0
OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}
"""The Accept header of Prometheus."""


def ask(connection: http.client.HTTPConnection, path: str) -> tuple[float, int]:
    """Return how long an answer took, in seconds, and its bytes. Raises RuntimeError when it is not 200."""
    started = time.perf_counter()
    connection.request("GET", path, headers=OPENMETRICS)
    response = connection.getresponse()
    content = response.read()
    if response.status != 200:
        raise RuntimeError(f"{path} answers {response.status}")
    return time.perf_counter() - started, len(content)


def main() -> None:
    """Ask `address` for `seconds`."""
    address, seconds = sys.argv[1], float(sys.argv[2])
    connection = http.client.HTTPConnection(address, timeout=TIMEOUT_S)
    scrape: list[float] = []
    health: list[float] = []
    size, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(EVERY_S)
        took, size = ask(connection, "/metrics")
        scrape.append(took)
        health.append(ask(connection, "/health")[0])
    print(json.dumps({"scrape": scrape, "health": health, "scrape_bytes": size}))


if __name__ == "__main__":
    main()
