"""The simulation of several groups: laws that hold for every queue, and the same figures for the same seed."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from collectionstore_bench.scale.groups.cores import Node, Process
from collectionstore_bench.scale.groups.engine import Engine
from collectionstore_bench.scale.groups.picture import draw, nice_top
from collectionstore_bench.scale.groups.simulation import Cluster, Costs, Result, Run
from collectionstore_bench.scale.groups.study import point, quantile

ONE = Cluster(groups=1, nodes=3, cores=4)


def at(rate: float, cluster: Cluster = ONE, seed: int = 1) -> Result:
    return Run(cluster, seed).open_loop(rate, warm_up_s=0.1, seconds=0.5)


def test_events_run_in_the_order_of_their_times_and_then_of_their_making() -> None:
    engine, seen = Engine(), list[str]()
    for delay, name in ((2.0, "c"), (1.0, "a"), (1.0, "b"), (9.0, "late")):
        engine.after(delay, lambda name=name: seen.append(name))  # type: ignore[misc]

    engine.run(5.0)

    assert seen == ["a", "b", "c"]
    assert engine.now == 5.0


def test_a_process_has_one_job_at_a_time_and_a_node_as_many_as_cores() -> None:
    engine = Engine()
    node = Node(engine, cores=2)
    processes = [Process(node) for _ in range(3)]
    ended: list[tuple[int, float]] = []
    for number, process in enumerate(processes):
        for _ in range(2):
            process.work(1.0, lambda number=number: ended.append((number, engine.now)))  # type: ignore[misc]

    engine.run(10.0)

    assert node.busy_s == 6.0
    # Six jobs of a second each on two cores take three seconds, and no process is done twice at the same time.
    assert sorted(when for _, when in ended) == [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]
    assert len(set(ended)) == 6


def test_the_disk_completes_one_sync_after_the_other() -> None:
    engine = Engine()
    node, done = Node(engine, cores=1), list[float]()
    for _ in range(3):
        node.sync(0.5, lambda: done.append(engine.now))

    engine.run(10.0)

    assert done == [0.5, 1.0, 1.5]
    assert node.disk_busy_s == 1.5


@pytest.mark.parametrize("rate", [500, 3000, 6000])
def test_littles_law(rate: float) -> None:
    """What is in the system is the rate times the mean time in it."""
    result = at(rate)

    mean = sum(result.latencies) / len(result.latencies)
    assert result.inflight == pytest.approx(result.per_second * mean, rel=0.05)
    assert result.per_second == pytest.approx(rate, rel=0.1)


def test_the_utilisation_law() -> None:
    """The leader's node is busy for the rate times what a write costs there, and for its batches."""
    costs = Costs(batch_us=0.0)
    result = at(4000, Cluster(1, 3, 4, costs))

    assert result.busy[0] == pytest.approx(result.per_second * costs.leader_us * 1e-6, rel=0.03)
    for follower in result.busy[1:]:
        assert follower == pytest.approx(result.per_second * costs.follower_us * 1e-6, rel=0.03)


def test_one_group_ends_at_one_core_of_its_leader() -> None:
    most = Run(ONE, 1).closed_loop(256, warm_up_s=0.1, seconds=0.5)

    assert 0.8e6 / ONE.costs.leader_us < most.per_second < 1e6 / ONE.costs.leader_us


def test_two_groups_do_twice_as_much_and_never_more_than_the_cores() -> None:
    one, two, many = (
        Run(Cluster(groups, 3, 2), 1).closed_loop(256 * groups, warm_up_s=0.1, seconds=0.5) for groups in (1, 2, 12)
    )

    assert two.per_second == pytest.approx(2 * one.per_second, rel=0.1)
    assert all(busy <= 2.0 * 1.01 for busy in many.busy)
    costs = Costs()
    assert many.per_second < 6e6 / (costs.leader_us + 2 * costs.follower_us)


def test_without_a_queue_a_write_takes_the_sum_of_its_steps() -> None:
    costs = Costs()
    result = at(20, Cluster(1, 3, 4, costs))

    longest = costs.network_us + costs.batch_us + costs.follower_us + costs.sync_us + costs.network_us
    alone = (costs.leader_us + 2 * costs.batch_us + longest) * 1e-6
    assert result.latencies[0] == pytest.approx(alone, rel=0.01)


def test_a_seed_gives_the_same_figures_and_another_one_others() -> None:
    cluster = Cluster(4, 3, 2)

    assert at(9000, cluster, seed=7) == at(9000, cluster, seed=7)
    assert at(9000, cluster, seed=7).latencies != at(9000, cluster, seed=8).latencies


def test_the_picture_is_svg_with_a_line_for_each_size() -> None:
    points = [point(Cluster(groups, nodes, 2), 0.05, 1) for nodes in (3, 4) for groups in (1, 2)]

    picture = ElementTree.fromstring(draw(points))

    lines = picture.findall(".//{http://www.w3.org/2000/svg}polyline")
    assert len(lines) == 4
    for line in lines:
        places = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
        assert all(0 <= x <= 960 and 0 <= y <= 400 for x, y in places)
    assert nice_top(146_511) == 150_000
    assert nice_top(7) == 7.5


@pytest.mark.parametrize(
    ("fraction", "expected"), [(0.0, 1.0), (0.01, 1.0), (0.5, 50.0), (0.99, 99.0), (0.991, 100.0), (1.0, 100.0)]
)
def test_quantiles_are_of_the_nearest_rank(fraction: float, expected: float) -> None:
    assert quantile([float(number) for number in range(1, 101)], fraction) == expected


def test_nothing_has_no_quantile() -> None:
    assert quantile([], 0.5) is None
    assert quantile([3.0], 0.99) == 3.0
