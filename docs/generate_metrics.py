"""Write docs/metrics.md from the tables of both programs, or check that it is current."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from collectionstore_node.metrics import CHAPTERS as NODE
from collectionstore_operator.observability.metrics import CHAPTERS as OPERATOR
from collectionstore_telemetry.metrics import Chapters, Label, Series

PAGE = Path(__file__).with_name("metrics.md")
COMMAND = "python docs/generate_metrics.py --write"

HEAD = """# Metrics

<!-- Made by `python docs/generate_metrics.py --write` from the tables in the code. Do not edit. -->

| who | where | on one machine |
| --- | --- | --- |
| a member | `:7402/metrics`, plain HTTP, and its client port | `http://127.0.0.1:7402`, `7412`, `7422` |
| the operator | `:8080/metrics` | the supervisor of a cluster: `http://127.0.0.1:7399`, the port below the members' |

Prometheus text format, or OpenMetrics where the Accept header asks for it, as Prometheus does. In OpenMetrics a latency
bucket shows its last traced request as an exemplar. Durations are in seconds, sizes in bytes.

**Labels.** The values of every label are a closed set, or bounded by what the table says: never a key, an address or an
id of a request. Series of a member carry neither namespace nor cluster: these come from the configuration of the scrape
(`namespace`, `cluster`, `instance`). `peer` is the name of another member and goes with it. The operator tells of all
its clusters and names them itself, so its scrape needs `honor_labels: true`. A counter whose label values are a closed
set tells all of them from the start, so that the first failure is an increase.

**Cost.** Counters are plain numbers; RocksDB, `/proc` and the file system are asked in a thread, once for each scrape.
`COLLECTIONSTORE_METRICS=Disabled` turns off a member's counters and histograms. What a scrape reads by itself stays:
gauges, RocksDB, the process.

`python -m collectionstore_bench.comparison.metrics` measures it on two clusters side by side in one run, with 64
connections (AMD EPYC, 2 cores for all processes, commits 127bedc and 7e788aa; medians). Throughput with metrics is 1.01
and 1.03 of that without for writes, 1.03 and 0.94 for reads: below the noise of such a machine. The leader's processor
time is 0.99 and 1.00 for a write, 1.00 and 1.06 for a read. Under full write load a scrape of 70 kB takes 21 to 25 ms
(maximum of 127: 69 ms), `/health` 2 to 4 ms (maximum: 22 ms); under reads 8 to 11 ms and 2 ms (maximum: 38 and 9 ms).

**Of any process.** Both programs tell `process_*` (CPU, memory, file descriptors, start), `python_gc_*` and
`python_info` as well. Those are the Python client library's.

**Not there.** There are no series of watchers, streams and expiry (TTL): the store has none of these.
"""


def page() -> str:
    """Return the page."""
    parts = [HEAD, "## A member", *_chapters(NODE), "## The operator", *_chapters(OPERATOR)]
    return "\n".join(parts)


def _chapters(chapters: Chapters) -> Iterable[str]:
    for title, series in chapters:
        yield f"\n### {title}\n"
        yield "| series | kind | unit | what | labels |\n| --- | --- | --- | --- | --- |"
        yield from (_row(one) for one in series)
        for edges in dict.fromkeys(one.buckets for one in series if one.buckets):
            names = ", ".join(f"`{_short(one.name)}`" for one in series if one.buckets == edges)
            yield f"\nBuckets of {names}: {', '.join(f'{edge:.10g}' for edge in edges)}."
    yield ""


def _row(series: Series) -> str:
    name = f"{series.name}_info" if series.kind.value == "info" else series.name
    labels = "; ".join(_label(label) for label in series.labels)
    return f"| `{name}` | {series.kind.value} | {series.unit} | {series.help} | {labels} |"


def _label(label: Label) -> str:
    if label.values:
        return f"`{label.name}`: {', '.join(label.values)}"
    return f"`{label.name}`: {label.bound}"


def _short(name: str) -> str:
    return name.removeprefix("collectionstore_")


def main() -> int:
    """Write or check; 1 when the page is not current."""
    parser = argparse.ArgumentParser(prog="docs/generate_metrics.py", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the page; without this, exit with 1 if it is stale")
    if parser.parse_args().write:
        PAGE.write_text(page())
        return 0
    if not PAGE.exists() or PAGE.read_text() != page():
        print(f"{PAGE.name} is not current; make it so:  {COMMAND}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
