"""Each alert fires when it must and keeps quiet when it must, by Prometheus' own tool; each has what on-call needs."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from collectionstore_alerts import catalogue, objectives
from collectionstore_alerts.cases import CASES, Case, Series
from collectionstore_alerts.rules import Alert, Recording, alerts
from collectionstore_dashboards import promql
from collectionstore_testkit.tools.prometheus import promtool

ALERTS = alerts(catalogue.GROUPS)
REPOSITORY = catalogue.FILE.parents[1]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(promtool()), *arguments], capture_output=True, text=True, check=False)


def described(series: Series, step: str) -> dict[str, Any]:
    inputs = [{"series": name, "values": values} for name, values in series.items()]
    return {"interval": step, "input_series": inputs}


def firing(case: Case, *, expected: bool) -> dict[str, Any]:
    """Return the part of a test that asks who fires, of the alert and severity of a case."""
    labels = {"severity": case.severity, **case.labels}
    chosen = ", ".join(f'{name}="{labels[name]}"' for name in ("severity", "long", "short") if name in labels)
    name = f"CollectionStore{case.alert}"
    wanted = {"alertname": name, "alertstate": "firing", **labels}
    written = ", ".join(f'{key}="{value}"' for key, value in wanted.items())
    query = {"expr": f'ALERTS{{alertname="{name}", alertstate="firing", {chosen}}}', "eval_time": case.at}
    samples = [{"labels": f"ALERTS{{{written}}}", "value": 1}] if expected else []
    return {"promql_expr_test": [{**query, "exp_samples": samples}]}


def judged(folder: Path, case: Case, parts: list[dict[str, Any]]) -> subprocess.CompletedProcess[str]:
    """Return what promtool says, of the alert's group alone: the whole file takes seconds a time."""
    groups = [group for group in catalogue.content()["groups"] if f"CollectionStore{case.alert}" in str(group)]
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}, width=10_000))
    content = {"rule_files": ["rules.yaml"], "evaluation_interval": case.evaluation, "tests": parts}
    (folder / "test.yaml").write_text(yaml.safe_dump(content, width=10_000))
    return run("test", "rules", str(folder / "test.yaml"))


def test_the_committed_file_is_current() -> None:
    command = [sys.executable, "-m", "collectionstore_alerts", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_promtool_finds_nothing_to_complain_about() -> None:
    done = run("check", "rules", "--lint=all", "--lint-fatal", str(catalogue.FILE))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_an_alert_fires_when_it_must_and_is_quiet_when_it_must(case: Case, tmp_path: Path) -> None:
    fires = {**described(case.firing, case.step), **firing(case, expected=True)}
    quiet = {**described(case.quiet, case.step), **firing(case, expected=False)}
    done = judged(tmp_path, case, [fires, quiet])
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_tool_notices_when_a_case_is_wrong(tmp_path: Path) -> None:
    """A test of the test: with firing and quiet swapped, it fails twice."""
    case = CASES[0]
    fires = {**described(case.quiet, case.step), **firing(case, expected=True)}
    quiet = {**described(case.firing, case.step), **firing(case, expected=False)}
    done = judged(tmp_path, case, [fires, quiet])
    assert done.returncode == 1
    assert (done.stdout + done.stderr).count("expr:") == 2


def test_every_rule_has_a_case() -> None:
    rules = sorted((alert.name, alert.severity, alert.labels.get("long", "")) for alert in ALERTS)
    assert sorted({(case.alert, case.severity, case.labels.get("long", "")) for case in CASES}) == rules


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_summary_and_description_are_filled_in(case: Case, tmp_path: Path) -> None:
    """Prometheus would put its error, or nothing, in place of a label that is not there."""
    asked = {"alertname": f"CollectionStore{case.alert}", "eval_time": case.at, "exp_alerts": []}
    done = judged(tmp_path, case, [{**described(case.firing, case.step), "alert_rule_test": [asked]}])
    found = re.findall(r'(?:summary|description)="(.*?)"[,}]', done.stdout + done.stderr)
    assert len(found) >= 2
    for text in found:
        assert "error expanding" not in text
        assert not re.search(r"no value|\{\{|%!|/[ /.]| /|NaN|\(\)|^ |  | [.,:]", text), text
        assert text.endswith("."), text


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: f"{alert.name}-{alert.severity}")
def test_an_alert_says_what_on_call_needs(alert: Alert) -> None:
    rule = alert.rule(runbooks="https://docs.example/runbooks/", hold=None)
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert re.fullmatch(r"[1-9][0-9]*[mh]", rule["for"])
    assert rule["annotations"]["runbook_url"] == f"https://docs.example/runbooks/{alert.full_name}.md"
    assert (REPOSITORY / rule["annotations"]["runbook_url"].replace("https://docs.example", "docs")).is_file()
    page = json.loads((REPOSITORY / "dashboards" / f"{alert.dashboard}.json").read_text())
    assert page["uid"] == rule["annotations"]["dashboard"]


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: f"{alert.name}-{alert.severity}")
def test_an_alert_reads_counters_as_rates_and_names_the_job_of_shared_series(alert: Alert) -> None:
    recorded = {rule.name for group in catalogue.GROUPS for rule in group.rules if isinstance(rule, Recording)}
    for use in promql.uses(alert.expr):
        if ":" in use.series:
            assert use.series in recorded
        elif promql.COUNTER.search(use.series):
            assert use.call in promql.RISING
        if use.series == "up" or use.series.startswith("process_"):
            assert use.labels["job"] in {"=collectionstore-node", "=collectionstore-operator"}


def test_burn_rates_are_recorded_for_every_window_that_an_alert_looks_at() -> None:
    used = {window for speed in objectives.SPEEDS for window in (speed.long, speed.short)}
    assert used == set(objectives.WINDOWS)


def test_failures_and_slowness_use_the_budget_and_nothing_else_does(tmp_path: Path) -> None:
    """2 failed and 3 slow of 1000, for one of which the budget is: five times too fast. 4xx cost nothing."""
    name, labels = "collectionstore_http", 'namespace="n", cluster="c", route="/api/v1/transactions", method="POST"'
    series = {
        f'{name}_request_duration_seconds_bucket{{{labels}, le="0.5"}}': "0+997x20",
        f"{name}_request_duration_seconds_count{{{labels}}}": "0+1000x20",
        f'{name}_requests_total{{{labels}, code="200"}}': "0+900x20",
        f'{name}_requests_total{{{labels}, code="412"}}': "0+98x20",
        f'{name}_requests_total{{{labels}, code="500"}}': "0+2x20",
    }
    rounded = {
        "expr": "round(cluster:collectionstore_writes:burn5m, 0.001)",
        "eval_time": "15m",
        "exp_samples": [{"labels": '{namespace="n", cluster="c"}', "value": 5}],
    }
    none = {"expr": "cluster:collectionstore_reads:burn5m", "eval_time": "15m", "exp_samples": []}
    part = {**described(series, "1m"), "promql_expr_test": [rounded, none]}
    done = judged(tmp_path, next(case for case in CASES if case.alert == "WriteBudgetBurn"), [part])
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_trial_can_shorten_all_waiting_and_an_installation_place_the_runbooks() -> None:
    command = [sys.executable, "-m", "collectionstore_alerts", "--print", "--hold", "0s"]
    done = subprocess.run([*command, "--runbooks", "https://a.example/b"], capture_output=True, text=True, check=True)
    rules = [rule for group in yaml.safe_load(done.stdout)["groups"] for rule in group["rules"] if "alert" in rule]
    assert {rule["for"] for rule in rules} == {"0s"}
    assert all(rule["annotations"]["runbook_url"].startswith("https://a.example/b/Coll") for rule in rules)
