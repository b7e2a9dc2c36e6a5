"""Which requests are recorded, and the settings that say it."""

from __future__ import annotations

from pathlib import Path

import pytest

from collectionstore_node.audit.auditor import CONTENT_BYTES, RESERVED_BYTES, Auditor, Unavailable
from collectionstore_node.audit.feeder import Feeder
from collectionstore_node.audit.rules import Rules, parse_rules
from collectionstore_node.audit.settings import Blocking
from collectionstore_node.settings import InvalidSetting, Settings
from collectionstore_node.tests.audit.recorded import RecordedSeries, RecordedSink, Time, event

REQUIRED = {
    "COLLECTIONSTORE_NAME": "demo-0",
    "COLLECTIONSTORE_CLUSTER_ID": "demo",
    "COLLECTIONSTORE_DATA_DIR": "/data",
    "COLLECTIONSTORE_TLS_DIR": "/tls",
}


def feeder(name: str = "file", bytes_max: int = 1 << 20) -> Feeder:
    """Return a feeder that is not started: what it takes stays queued."""
    time = Time()
    return Feeder(
        name,
        RecordedSink(),
        RecordedSeries(),
        bytes_max=bytes_max,
        clock=time.clock,
        wall_ms=lambda: 0,
        sleep=time.sleep,
        random=lambda: 0.5,
    )


def auditor(*feeders: Feeder, rules: Rules | None = None, blocking: Blocking = "Never", random: float = 0.5) -> Auditor:
    """Return an audit log."""
    return Auditor(feeders, rules or Rules(reads=0.1), blocking=blocking, random=lambda: random)


@pytest.mark.parametrize("verb", ["write", "create", "drop", "index", "transact", "backup", "admin"])
def test_what_changes_something_is_recorded_without_rules(verb: str) -> None:
    assert Rules(reads=0.0).decide("ada", verb, "books").take == 1.0


@pytest.mark.parametrize("verb", ["read", "watch", "monitor"])
def test_of_what_reads_a_part_is(verb: str) -> None:
    assert Rules(reads=0.25).decide("ada", verb, "books").take == 0.25


async def test_the_part_is_chosen_at_random() -> None:
    assert auditor(random=0.09).begin("ada", "read", "books").record
    assert not auditor(random=0.1).begin("ada", "read", "books").record


def test_the_first_rule_that_matches_decides() -> None:
    rules = Rules(
        parse_rules(
            '[{"users": ["svc-*"], "verbs": ["read"], "take": 0},'
            ' {"resources": ["orders", "pay-*"], "content": true},'
            ' {"verbs": ["write"], "take": 0.5}]'
        ),
        reads=0.1,
    )
    assert rules.decide("svc-1", "read", "orders") == (0.0, False)
    assert rules.decide("ada", "read", "orders") == (1.0, True)
    assert rules.decide("ada", "write", "pay-2026") == (1.0, True)
    assert rules.decide("ada", "write", "books") == (0.5, False)
    assert rules.decide("svc", "read", "books") == (0.1, False)


async def test_what_was_refused_for_rights_is_recorded_whatever_was_chosen() -> None:
    log = auditor(random=0.9)
    taken = log.begin("ada", "read", "books")
    assert not log.wants(taken, 200)
    assert log.wants(taken, 403)
    assert log.wants_refused("", "read", "books")
    never = auditor(rules=Rules(parse_rules('[{"take": 0}]')))
    assert not never.wants_refused("", "read", "books")
    assert not never.wants(never.begin("ada", "read", "books"), 403)


async def test_requests_are_not_refused_unless_the_settings_say_so() -> None:
    full = feeder(bytes_max=1)
    log = auditor(full)
    log.begin("ada", "write", "books")
    log.record(event())
    assert full.dropped == 1


async def test_a_request_whose_record_would_not_fit_is_refused_before_it_begins() -> None:
    small = feeder(bytes_max=2 * RESERVED_BYTES + 100)
    log = auditor(feeder("webhook"), small, blocking="WhenFull")
    first, second = (log.begin("ada", "write", "books") for _ in range(2))
    with pytest.raises(Unavailable, match="queue is full"):
        log.begin("ada", "write", "books")
    # What is not recorded is not refused.
    assert not log.begin("ada", "read", "books").record
    log.release(first)
    log.record(event())
    log.release(second)
    log.begin("ada", "write", "books")
    assert (small.dropped, log.refused) == (0, 1)


@pytest.mark.parametrize(("blocking", "refused"), [("Never", False), ("WhenFull", False), ("WhenFailing", True)])
async def test_a_sink_that_fails_refuses_requests_only_where_it_shall(blocking: Blocking, refused: bool) -> None:  # noqa: FBT001
    failing = feeder()
    failing.error = "the disk is full"
    log = auditor(failing, blocking=blocking)
    if refused:
        with pytest.raises(Unavailable, match="the disk is full"):
            log.begin("ada", "write", "books")
    else:
        assert log.begin("ada", "write", "books").record


async def test_what_is_kept_for_a_record_suffices_for_the_largest() -> None:
    largest = event(
        content="\U0001f600" * 4_097,
        id="\U0001f600" * 513,
        user="\U0001f600" * 513,
        resource="x" * 63,
        touched=("collection:" + "x" * 63,) * 17,
        request_id="x" * 513,
    )
    one = feeder(bytes_max=2 * (RESERVED_BYTES + CONTENT_BYTES))
    log = auditor(one, rules=Rules(parse_rules('[{"content": true}]')), blocking="WhenFull")
    for _ in range(2):
        log.release(log.begin("ada", "write", "books"))
        log.record(largest)
    assert (one.queued, one.dropped) == (2, 0)
    with pytest.raises(Unavailable):
        log.begin("ada", "write", "books")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("AUDIT_READS", "2"),
        ("AUDIT_READS", "-0.1"),
        ("AUDIT_READS", "nan"),
        ("AUDIT_READS", "1e-3"),
        ("AUDIT_FILES", "1"),
        ("AUDIT_FILE_BYTES", "1000"),
        ("AUDIT_SYNC", "always"),
        ("AUDIT_BLOCKING", "Sometimes"),
        ("AUDIT_OTLP", "yes"),
        ("AUDIT_WEBHOOK", "ftp://audit"),
        ("AUDIT_WEBHOOK", "https://ada:secret@audit/"),
        ("AUDIT_WEBHOOK", "https://"),
        ("AUDIT_WEBHOOK", "http://[::1"),
        ("AUDIT_RULES", "{}"),
        ("AUDIT_RULES", "[{]"),
        ("AUDIT_RULES", '[{"verbs": ["rite"]}]'),
        ("AUDIT_RULES", '[{"take": 1.5}]'),
        ("AUDIT_RULES", '[{"takes": 1}]'),
        ("AUDIT_RULES", '[{"users": [""]}]'),
        ("AUDIT_RULES", "[" + ",".join(["{}"] * 65) + "]"),
        ("AUDIT_RULES", "[" * 100_000),
    ],
)
def test_settings_that_cannot_be_are_refused(variable: str, value: str) -> None:
    with pytest.raises(InvalidSetting, match=variable):
        Settings.from_environment({**REQUIRED, f"COLLECTIONSTORE_{variable}": value})


def test_the_log_is_off_unless_it_has_a_sink() -> None:
    read = Settings.from_environment
    assert not read({**REQUIRED, "COLLECTIONSTORE_AUDIT_READS": "1"}).audit.enabled
    settings = read(
        {
            **REQUIRED,
            "COLLECTIONSTORE_AUDIT_DIR": "/audit",
            "COLLECTIONSTORE_AUDIT_WEBHOOK": "https://audit/x",
            "COLLECTIONSTORE_AUDIT_RULES": '[{"verbs": ["read"], "take": 0}]',
            "COLLECTIONSTORE_AUDIT_READS": "0.5",
        }
    ).audit
    assert settings.enabled
    assert (settings.directory, settings.reads, settings.webhook) == (Path("/audit"), 0.5, "https://audit/x")
    assert settings.rules[0].take == 0.0
