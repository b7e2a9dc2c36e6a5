"""The arithmetic of the backup's figures."""

from __future__ import annotations

import pytest

from collectionstore_bench.backup.archive_lag import lags_of
from collectionstore_bench.backup.figures import P99_RATIO_MAX, of_phases
from collectionstore_bench.backup.measurements import Phase, Phases
from collectionstore_bench.backup.options import PARTS, parse_options


def test_the_lag_of_a_sample_lasts_until_its_entry_is_archived() -> None:
    samples = [(0.0, 10, 10), (1.0, 20, 10), (2.0, 30, 15), (3.0, 30, 20), (4.0, 30, 30), (5.0, 40, 30)]
    # The first was archived when it was seen, and nothing shows the end of the last.
    assert lags_of(samples) == [2.0, 2.0, 1.0]
    assert lags_of([(0.0, 5, 5)]) == [0.0]


def test_rounds_are_compared_one_by_one_and_a_missed_bound_shows() -> None:
    """Init: three rounds; in one of them the machine was slow, with a backup and without."""
    pairs = ((0.010, 0.011), (0.200, 0.230), (0.010, 0.012))
    phases = Phases(
        without=[Phase([one] * 100) for one, _ in pairs],
        during=[Phase([one] * 100) for _, one in pairs],
        stream_bytes=100 << 20,
        seconds=[5.0, 10.0, 20.0],
        member_ms_per_mib=[5.0, 6.0, 7.0],
    )
    found = {one.what: one for one in of_phases(phases, parse_options("", ["--rounds", "3"]))}
    ratio = found["write p99 during a backup by that without"]
    assert ratio.value == pytest.approx(1.15)
    assert ratio.met
    assert found["backup under that load"].value == 10.0
    phases.during[0] = phases.during[2] = Phase([0.1] * 100)
    (missed,) = [one for one in of_phases(phases, parse_options("", [])) if one.bound == P99_RATIO_MAX]
    assert not missed.met
    phases.during[1].failed = 1
    assert not all(one.met for one in of_phases(phases, parse_options("", [])))


@pytest.mark.parametrize("arguments", [["--only", "speed"], ["--rounds", "0"], ["--rate", "-1"], ["--megabytes", "x"]])
def test_a_wrong_option_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse_options("", arguments)
    assert ended.value.code == 2
    assert "allowed" in capsys.readouterr().err


def test_everything_is_measured_unless_parts_are_named() -> None:
    assert parse_options("", []).parts == PARTS
    assert parse_options("", ["--only", "quorum,archive"]).parts == ("quorum", "archive")
