"""Tests of the command lines of the load generators and of what is read from their output."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from collectionstore_bench.generators import programs, running
from collectionstore_bench.generators.load import FEWEST_KEYS, MOST_KEYS, Load, Result, Work, keys_for
from collectionstore_bench.load.documents import make_documents
from collectionstore_testkit.errors import CommandFailed

FILLING = Path("filling")
WRK = """Running 1s test @ http://127.0.0.1:1
  1 threads and 2 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency    51.54ms   30.69ms 175.12ms   69.00%
Requests/sec:   1264.95
result {"requests":3871,"seconds":3.060201,"p50_us":49584.0,"p99_us":161917.0,"worst_us":175120.0,"errors":ERRORS}
"""


def wrk_printed(**errors: int) -> str:
    causes = dict.fromkeys(("connect", "read", "write", "status", "timeout"), 0) | errors
    return WRK.replace("ERRORS", json.dumps(causes))


def test_result_of_wrk_is_read() -> None:
    result = programs.parse_wrk(wrk_printed())
    assert result == Result(3871, 3.060201, 49584.0, 161917.0, 175120.0, {})
    assert result.per_second == pytest.approx(1264.95, rel=1e-4)


def test_only_causes_that_occurred_are_errors() -> None:
    result = programs.parse_wrk(wrk_printed(status=7))
    assert result.errors == {"status": 7}
    assert result.failures == 7


@pytest.mark.parametrize("printed", ["", "unable to connect", wrk_printed() + wrk_printed(), "result {"])
def test_output_without_one_result_is_refused(printed: str) -> None:
    with pytest.raises(programs.UnreadableOutput):
        programs.parse_wrk(printed)


def test_result_of_etcd_load_is_read() -> None:
    printed = '{"requests":5,"seconds":2,"p50_us":1.5,"p99_us":2,"worst_us":3,"errors":{"deadline exceeded":1}}\n'
    assert programs.parse_result(printed) == Result(5, 2.0, 1.5, 2.0, 3.0, {"deadline exceeded": 1})
    with pytest.raises(programs.UnreadableOutput, match="went wrong"):
        programs.parse_result("went wrong")


def test_wrk_is_not_asked_for_what_it_would_round() -> None:
    """wrk silently drops parts of a second, and connections that its threads cannot share evenly."""
    urls = ["http://127.0.0.1:1", "http://127.0.0.1:2"]
    load = Load(Work.GET, 3)
    with pytest.raises(ValueError, match="3 connections to 2 nodes"):
        programs.wrk(["wrk"], "ours", load, urls, seconds=1, filling=FILLING)
    with pytest.raises(ValueError, match=r"1\.5 s"):
        programs.wrk(["wrk"], "ours", load, urls[:1], seconds=1.5, filling=FILLING)


def test_documents_stay_within_a_bounded_amount_of_data() -> None:
    assert keys_for(255) == MOST_KEYS
    assert keys_for(256 * 1024) == FEWEST_KEYS
    assert FEWEST_KEYS < keys_for(16 * 1024) < MOST_KEYS


def test_documents_have_the_size_that_was_asked_for() -> None:
    documents = make_documents(20, 255, "document-255-")
    assert {len(body) for _, body in documents} == {255}
    assert sorted(json.loads(body)["number"] for _, body in documents) == list(range(20))
    assert documents == make_documents(20, 255, "document-255-")


async def test_processor_time_and_failures_of_a_generator_are_noticed() -> None:
    busy = "import time\nend = time.process_time() + 0.2\nwhile time.process_time() < end: pass\nprint('done')"
    printed, cpu_s = await running.run([sys.executable, "-c", busy], seconds=5)
    assert printed == "done\n"
    assert cpu_s > 0.2
    with pytest.raises(CommandFailed, match="no such store"):
        await running.run([sys.executable, "-c", "import sys; sys.exit('no such store')"], seconds=5)
