"""The output of csctl: tables, numbers and progress; and a documentation page that matches the commands."""

from __future__ import annotations

from pathlib import Path

import click
import pytest
from rich.console import Console

from collectionstore.cli.exit_codes import ExitCode
from collectionstore_local.commands.cli import HELP, local
from collectionstore_local.commands.member_rows import member_rows
from collectionstore_local.commands.readiness import ready, waiting_for
from collectionstore_local.commands.status_tables import (
    configuration_line,
    format_age,
    format_size,
    headline,
    members_table,
    plan_view,
    recent_view,
)
from collectionstore_local.state.directory import ClusterDirectory
from collectionstore_operator import settings
from collectionstore_operator.model.observed import Member, NodeStatus, Observed, Peer, Pod, Slot, Unknown
from collectionstore_operator.settings import InvalidSetting, Settings
from collectionstore_operator.status.events import Event
from collectionstore_operator.status.published import Condition, ConfigurationStatus, MemberStatus, PlannedStep, Status

PAGE = Path(__file__).parents[4] / "docs" / "reference" / "cli.md"


def rendered(renderable: object) -> str:
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        console.print(renderable)
    return capture.get()


def condition(status: str = "True") -> Condition:
    return Condition(
        type="Ready",
        status=status,  # type: ignore[arg-type]
        reason="R",
        message="demo-1 is down",
        observed_generation=1,
        last_transition_time="",
    )


def test_headline_answers_most_questions() -> None:
    """Ready or not, members, leader, fault tolerance."""
    status = Status(
        conditions=(condition(),), members_summary="3/3", leader="demo-0", term=2, fault_tolerance=1, replicas=3
    )
    assert headline("demo", status).plain == "demo  Ready  3/3 members, demo-0 leads in term 2, tolerates 1 failure"
    assert headline("demo", Status()).plain == "demo  not Ready  0/0 members, no leader, tolerates no failure"


def test_joint_configuration_shows_both_halves() -> None:
    """Both need a majority during the change."""
    joint = ConfigurationStatus(
        index=9, joint=True, voters=("demo-0", "demo-1", "demo-2"), outgoing=("demo-0",), learners=("demo-3",)
    )
    text = configuration_line(Status(configuration=joint))
    assert text == "Configuration 9: joint, voters demo-0 to demo-0, demo-1, demo-2; learners demo-3"
    assert configuration_line(Status(configuration=ConfigurationStatus(index=1, voters=("a",)))) == (
        "Configuration 1: voters a"
    )


def test_rows_take_numbers_from_the_node_and_progress_from_the_leader() -> None:
    """A node that does not answer has none, but the leader still knows its lag."""
    leader = NodeStatus(
        cluster_id="c",
        node_id="a",
        name="demo-0",
        role="Leader",
        term=3,
        commit_index=9,
        applied_index=8,
        members=(Member(node_id="b", lag=4),),
        peers=(Peer(node_id="b", name="demo-1", connected=True, round_trip_p50_ms=0.2, handshake_ms=9.0),),
    )
    pod = Pod(uid="u", running=True, ready=True, peer_address="127.0.0.1:7401")
    observed = Observed(
        now=0.0, slots=(Slot(ordinal=0, pod=pod, node=leader), Slot(ordinal=1, node=Unknown("connection refused")))
    )
    members = (MemberStatus(name="demo-0", ordinal=0, node_id="a"), MemberStatus(name="demo-1", ordinal=1, node_id="b"))
    first, second = member_rows(Status(members=members), observed)
    assert (first.term, first.commit_index, first.applied_index, first.lag) == (3, 9, 8, 0)
    assert (second.term, second.lag, second.round_trip_p50_ms, second.handshake_ms) == (None, 4, 0.2, 9.0)
    table = rendered(members_table((first, second), wide=True))
    assert "0.20 ms" in table
    assert "HANDSHAKE" in table


def test_plan_shows_what_blocks_each_step() -> None:
    """And says so when there is nothing to do."""
    step = PlannedStep(step="AddLearners", subject="demo-3", reason="it joins", blocked_by="demo-3 starts", since="")
    assert "AddLearners demo-3  it joins; blocked: demo-3 starts" in rendered(plan_view(Status(plan=(step,))))
    assert "nothing to do" in rendered(plan_view(Status()))


def test_recent_events_are_shown_with_their_age() -> None:
    """A joint change lasts milliseconds; what it did can be read afterwards."""
    event = Event(time=100.0, reason="ChangeVoters", subject="+demo-3 -demo-4", message="all vote in one step")
    shown = rendered(recent_view([event], 104.2))
    assert "4.2 s ago  ChangeVoters  +demo-3 -demo-4  all vote in one step" in shown
    assert "no events" in rendered(recent_view([], 0.0))


def test_progress_shows_the_first_step_or_the_ready_condition() -> None:
    """One line for the spinner."""
    step = PlannedStep(step="AddLearners", subject="demo-3", reason="it joins", blocked_by="demo-3 starts", since="")
    assert waiting_for(None) == "waiting for the reconcile loop"
    assert waiting_for(Status(plan=(step,))) == "AddLearners demo-3: it joins; blocked: demo-3 starts"
    assert waiting_for(Status(conditions=(condition("False"),))) == "demo-1 is down"


def test_ready_counts_only_for_the_generation_asked_for() -> None:
    """An older status does not count for a newer generation, and neither does one with a plan."""
    done = Status(conditions=(condition(),), observed_generation=2)
    step = PlannedStep(step="AddLearners", reason="", since="")
    assert ready(done, 2)
    assert not ready(done, 3)
    assert not ready(Status(conditions=(condition(),), observed_generation=2, plan=(step,)), 2)


@pytest.mark.parametrize(
    ("size", "words"),
    [(None, "-"), (0, "0 B"), (1023, "1023 B"), (4096, "4.0 KiB"), (158 << 10, "158 KiB"), (5 << 40, "5.0 TiB")],
)
def test_sizes_are_short(size: int | None, words: str) -> None:
    """Three digits are enough."""
    assert format_size(size) == words


@pytest.mark.parametrize(("seconds", "words"), [(0.04, "0.0 s"), (59.9, "59.9 s"), (90, "2 min"), (9000, "2 h")])
def test_ages_are_short(seconds: float, words: str) -> None:
    """Roughly is enough."""
    assert format_age(seconds) == words


def test_settings_are_read_and_checked() -> None:
    """A wrong level names the variable and what is allowed."""
    assert Settings.from_environment({}).node_command[-1] == "collectionstore_node"
    assert Settings.from_environment({settings.NODE_COMMAND: "/opt/old/python -m 'a b'"}).node_command == (
        "/opt/old/python",
        "-m",
        "a b",
    )
    with pytest.raises(InvalidSetting, match="COLLECTIONSTORE_LOG_LEVEL is 'loud'; allowed: debug"):
        Settings.from_environment({settings.LOG_LEVEL: "loud"})


def test_every_command_option_exit_code_file_and_variable_is_documented() -> None:
    """The page cannot fall behind the program."""
    page = PAGE.read_text()
    assert isinstance(local, click.Group)
    for name, command in local.commands.items():
        assert f"csctl local {name}" in page
        options = (option for option in command.params if isinstance(option, click.Option))
        for option in options:
            assert any(spelling in page for spelling in (*option.opts, *option.secondary_opts)), option.opts
    for code in ExitCode:
        assert f"| {int(code)} |" in page
        # Behind it are those of requests to the store, which no command of `csctl local` makes.
        assert f"  {int(code)} " in HELP or code > ExitCode.REFUSED
    directory = ClusterDirectory(Path("demo"))
    for file in (directory.resource, directory.manifest, directory.status, directory.observed, directory.events):
        assert f"`{file.name}`" in page
    for variable in (settings.NODE_COMMAND, settings.LOG_LEVEL, "COLLECTIONSTORE_STATE_DIR"):
        assert f"`{variable}`" in page
