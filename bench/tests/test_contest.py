"""Tests of the comparison of stores: turns, statistics, tables, options."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from collectionstore_bench.contest import etcd_cluster, results, turns
from collectionstore_bench.contest.cases import Case, Profile, Protocol, cases_of
from collectionstore_bench.contest.contenders import Contender, Tools, contenders_of
from collectionstore_bench.contest.options import parse_options
from collectionstore_bench.contest.report import Compared, render
from collectionstore_bench.contest.stores import Located
from collectionstore_bench.contest.summary import Results, Spread
from collectionstore_bench.contest.turns import Memory, Turn, take_all
from collectionstore_bench.generators.load import Load, Result, Work
from collectionstore_bench.machine import Machine
from collectionstore_bench.results import keep

ANSWERED = Result(1000, 2.0, 100.0, 200.0, 300.0, {})
TOOLS = Tools(("wrk",), Path("etcd-load"), Path("filling"))


@dataclass
class FakeStore:
    """A store whose leader is this process, and whose follower is its parent."""

    name: str
    version: str = "1"
    leaders: list[str] = field(default_factory=lambda: ["a"])
    tidied: int = 0

    async def locate(self) -> Located:
        leader = self.leaders.pop(0) if len(self.leaders) > 1 else self.leaders[0]
        return Located(["http://a", "http://b"], leader, {"a": os.getpid(), "b": os.getppid()})

    async def fill(self, size: int) -> None:
        raise AssertionError

    async def tidy(self) -> None:
        self.tidied += 1


@dataclass(frozen=True, slots=True)
class FakeContender(Contender):
    """Answers at once."""

    result: Result = ANSWERED

    async def run(self, load: Load, urls: Sequence[str], tools: Tools, *, seconds: float) -> tuple[Result, float]:
        return self.result, 0.5


def turn(contender: str, number: int, requests: int, case: str = "put 1", **changes: object) -> Turn:
    values: dict[str, object] = {
        "case": case,
        "contender": contender,
        "round": number,
        "requests": requests,
        "seconds": 2.0,
        "p50_us": 1000.0,
        "p99_us": 2000.0,
        "worst_us": 3000.0,
        "errors": {},
        "leader_us": 100.0,
        "follower_us": 50.0,
        "generator_us": 20.0,
        "written_per_byte": 3.0,
        "leader_changed": False,
    }
    return Turn(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "SETTLE_S", 0.0)


@pytest.mark.usefixtures("no_pause")
async def test_every_round_measures_everything_and_begins_with_another_one() -> None:
    ours, other = FakeStore("ours"), FakeStore("etcd")
    case = Case("put 1", Load(Work.PUT, 1))
    contenders = [FakeContender(ours, Protocol.REST), FakeContender(other, Protocol.REST)]
    told: list[Turn] = []
    done = await take_all([(case, contenders)], TOOLS, rounds=3, seconds=1, tell=told.append)
    assert [(one.round, one.contender) for one in done] == [
        (0, "ours REST"), (0, "etcd REST"), (1, "etcd REST"), (1, "ours REST"), (2, "ours REST"), (2, "etcd REST"),
    ]  # fmt: skip
    assert told == done
    assert (ours.tidied, other.tidied) == (3, 3)
    assert done[0].generator_us == pytest.approx(500.0)
    assert done[0].per_second == 500.0
    assert done[0].written_per_byte is not None


@pytest.mark.usefixtures("no_pause")
async def test_changed_leaders_and_missing_answers_are_told() -> None:
    """Neither divides by zero, nor vanishes from the result."""
    store = FakeStore("ours", leaders=["a", "b"])
    nothing = FakeContender(store, Protocol.REST, result=Result(0, 2.0, 0, 0, 0, {"timeout": 4}))
    done = await take_all([(Case("get 1", Load(Work.GET, 1)), [nothing])], TOOLS, rounds=1, seconds=1, tell=print)
    assert done[0].leader_changed
    assert done[0].per_second == 0
    assert done[0].written_per_byte is None
    assert Results(done).troubled() == done


def test_ratios_are_taken_within_a_round() -> None:
    """A machine that is half as fast in one round is so for both."""
    seen = Results([turn("a", 0, 100), turn("b", 0, 50), turn("b", 1, 500), turn("a", 1, 1000), turn("a", 2, 300)])
    assert seen.ratio("put 1", "a", "b", lambda one: one.per_second) == Spread(2.0, 2.0, 2.0)
    assert seen.spread("put 1", "a", lambda one: one.per_second) == Spread(150.0, 50.0, 500.0)
    assert seen.ratio("put 1", "a", "c", lambda one: one.per_second) is None
    assert seen.spread("put 2", "a", lambda one: one.per_second) is None


def test_rounds_without_an_answer_have_no_ratio() -> None:
    seen = Results([turn("a", 0, 100), turn("b", 0, 0), turn("a", 1, 100), turn("b", 1, 400)])
    assert seen.ratio("put 1", "a", "b", lambda one: one.per_second) == Spread(0.25, 0.25, 0.25)
    assert len(seen.troubled()) == 1


def test_tables_show_ratios_spreads_and_troubles() -> None:
    seen = Results(
        [
            turn("ours REST", 0, 4000),
            turn("etcd REST", 0, 1000, p50_us=2000.0),
            turn("ours REST", 1, 2000, errors={"status": 3}),
            turn("etcd REST", 1, 1000, p50_us=4000.0),
            turn("etcd gRPC", 0, 5000, case="put 1,000 in flight"),
        ]
    )
    compared = [
        Compared("put 1", "ours REST", ["etcd REST"]),
        Compared("put 1,000 in flight", "", ["etcd gRPC"]),
    ]
    memory = {"ours": (Memory("ours", 90_000_000, 80_000_000, 0.07), Memory("ours", 120_000_000, 110_000_000, 0.5))}
    lines = render(seen, compared, memory).splitlines()
    throughput = lines[: lines.index("")]
    assert throughput[2].split() == ["put", "1", "1,500", "500", "-", "3.00", "(2.00-4.00)", "-"]
    assert throughput[3].split() == ["put", "1,000", "in", "flight", "-", "-", "2,500", "-", "-"]
    latency = lines[lines.index("") + 3]
    assert latency.split() == ["put", "1", "1.00", "3.00", "-", "0.38", "(0.25-0.50)", "-"]
    assert "ours              90               80           120             110      7.0%" in lines
    assert lines[-1] == "  round 2, put 1, ours REST: 3 x status"


def test_results_keep_every_turn_with_the_machine(tmp_path: Path) -> None:
    machine = Machine("cpu", 2, 4.0, "6", "ext4", 0.3, 0.9, 0.1, "3.11", "0.23", "abc with uncommitted changes")
    memory = {"ours": (Memory("ours", 1, 2, 0.0), Memory("ours", 3, 4, 0.0))}
    content = results.as_json(machine, {"rounds": 1}, [turn("a", 0, 5)], memory)
    kept = keep("etcd-quick", machine, content, "table", tmp_path)
    assert kept.name.startswith("etcd-quick-abc-")
    assert kept.read_text() == "table\n"
    read = json.loads(kept.with_suffix(".json").read_text())
    assert read["machine"]["commit"] == "abc with uncommitted changes"
    assert read["turns"][0]["requests"] == 5
    assert read["memory"]["ours"]["after"]["leader"] == 3


def test_cases_have_different_names_and_what_was_promised() -> None:
    full, quick = cases_of(Profile.FULL), cases_of(Profile.QUICK)
    assert len({case.name for case in full}) == len(full)
    assert {case.name for case in quick} <= {case.name for case in full}
    assert {case.load.clients for case in full if case.load.work is Work.PUT} >= {1, 16, 64, 256, 1000}
    assert {case.load.size for case in full} == {255, 1024, 16_384, 262_144}
    assert {case.load.work for case in full} == set(Work)
    assert [case.tls for case in full] == sorted(case.tls for case in full)


def test_a_store_without_a_stream_is_left_out_of_its_case() -> None:
    ours, other = FakeStore("ours"), FakeStore("etcd")
    pipelined = next(case for case in cases_of(Profile.QUICK) if case.ours is Protocol.STREAM)
    without = contenders_of(pipelined, ours, other, other_dialect="etcd", stream=False)
    assert [one.name for one in without] == ["etcd gRPC"]
    with_it = contenders_of(pipelined, ours, other, other_dialect="etcd", stream=True)
    assert [one.name for one in with_it] == ["ours stream", "etcd gRPC"]


@pytest.mark.parametrize("wrong", [["--seconds", "1.5"], ["--rounds", "0"], ["--only", "nothing"], ["-o", "xml"]])
def test_wrong_options_are_refused(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_options("", wrong)
    assert ended.value.code == 2
    assert wrong[-1] in capsys.readouterr().err


def test_quick_turns_are_shorter() -> None:
    assert parse_options("", ["--quick"]).seconds < parse_options("", []).seconds
    assert parse_options("", ["--quick", "--seconds", "9"]).seconds == 9
    assert [case.name for case in parse_options("", ["--only", "put 256"]).cases()] == ["put 256"]


def test_nodes_of_etcd_authenticate_each_other() -> None:
    nodes = etcd_cluster.make_nodes(23_000, tls=False)
    words = etcd_cluster.command(Path("etcd"), nodes[1], nodes, Path("/data"))
    assert "--listen-peer-urls=https://127.0.0.1:23011" in words
    assert "--peer-client-cert-auth=true" in words
    assert "--peer-trusted-ca-file=/data/ca.crt" in words
    assert "--listen-client-urls=http://127.0.0.1:23010" in words
    assert not any(word.startswith("--cert-file") for word in words)
    secured = etcd_cluster.make_nodes(23_000, tls=True)
    assert "--cert-file=/data/tls.crt" in etcd_cluster.command(Path("etcd"), secured[0], secured, Path("/data"))


def test_certificates_are_those_of_the_nodes(tmp_path: Path) -> None:
    etcd_cluster.write_certificates(tmp_path)
    assert (tmp_path / "tls.crt").read_text().startswith("-----BEGIN CERTIFICATE-----")
    assert {path.name for path in tmp_path.iterdir()} == {"ca.crt", "tls.crt", "tls.key"}
