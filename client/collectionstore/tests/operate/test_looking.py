"""The verbs that look: what they print, in which width, and that nothing is changed."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from collectionstore.cli.commands import TRACEBACK
from collectionstore.kubernetes import names
from collectionstore.plugin import main
from collectionstore.tests.kubernetes.fake_api_server import Request, Response, refusal
from collectionstore.tests.operate.recorded import cluster, condition, member, plugin

LOOKING = (("status", "demo"), ("members", "demo"), ("certificates", "demo"), ("plan", "demo"))


def test_status_has_members_conditions_and_plan(tmp_path: Path) -> None:
    step = {"step": "RestartPod", "subject": "demo-2", "reason": "another revision", "blockedBy": "demo-1 restarts"}
    with plugin(tmp_path, cluster(plan=[step])) as one:
        output = one.run("status", "demo")
    assert "demo  Ready  3/3 members, demo-0 leads in term 2, tolerates 1 failure" in output
    assert "namespace shop" in output
    for name in ("demo-0", "demo-1", "demo-2", "AllMembersReady", "voters demo-0, demo-1, demo-2"):
        assert name in output
    assert "RestartPod demo-2  another revision; blocked: demo-1 restarts" in output


@pytest.mark.parametrize("columns", [80, 100, 120])
@pytest.mark.parametrize("words", LOOKING)
def test_output_fits_the_terminal(tmp_path: Path, words: tuple[str, str], columns: int) -> None:
    """Names and roles stay; what is less important is dropped, and messages wrap."""
    ill = member(1, ready=False, message="its pod cannot be scheduled: 0/3 nodes are available " * 3, restarts=7)
    found = cluster(
        members=[member(0), ill, member(2)],
        conditions=[condition("Degraded", "True", "MembersDown", "demo-1 is down since 05:00:00, " * 5)],
    )
    with plugin(tmp_path, found) as one:
        output = one.run(*words, columns=columns)
    assert max(map(len, output.splitlines())) <= columns
    if words[0] == "members":
        assert "cannot be scheduled" in " ".join(output.split())


@pytest.mark.parametrize("words", LOOKING)
def test_output_without_a_terminal_has_no_colors(tmp_path: Path, words: tuple[str, str]) -> None:
    with plugin(tmp_path) as one:
        assert "\x1b" not in one.run(*words)


@pytest.mark.parametrize("words", LOOKING)
def test_looking_changes_nothing_and_prints_no_credential(tmp_path: Path, words: tuple[str, str]) -> None:
    with plugin(tmp_path) as one:
        output = one.run(*words) + one.run(*words, "-o", "json")
        assert one.writes() == []
    assert "t0k3n" not in output


@pytest.mark.parametrize("words", LOOKING)
def test_json_and_yaml_are_the_same_document(tmp_path: Path, words: tuple[str, str]) -> None:
    with plugin(tmp_path) as one:
        as_json, as_yaml = json.loads(one.run(*words, "-o", "json")), yaml.safe_load(one.run(*words, "-o", "yaml"))
    assert as_json == as_yaml
    if words[0] == "status":
        assert as_json["status"]["leader"] == "demo-0"


def test_cluster_without_a_name_is_the_only_one(tmp_path: Path) -> None:
    with plugin(tmp_path) as one:
        assert "demo-0 leads" in one.run("status")


def test_several_clusters_are_listed(tmp_path: Path) -> None:
    other = {**cluster(), "metadata": {"name": "other", "namespace": "shop", "generation": 1}}
    with plugin(tmp_path, cluster(), other) as one:
        output = one.run("status")
        assert "NAMESPACE" not in output
        assert "NAMESPACE" in one.run("status", "-A")
        refused = one.run("members", code=5)
    assert {"demo", "other"} <= {line.split()[0] for line in output.splitlines()}
    assert "name one: demo, other" in refused


def test_cluster_that_does_not_exist_has_exit_code_5(tmp_path: Path) -> None:
    with plugin(tmp_path) as one:
        assert "cannot read the cluster absent in namespace shop" in one.run("status", "absent", code=5)


def test_refusal_of_the_api_server_is_told(tmp_path: Path) -> None:
    with plugin(tmp_path) as one:
        one.fake.behave = lambda _request: refusal(403, "Forbidden", "user u cannot get collectionstoreclusters")
        assert "user u cannot get collectionstoreclusters" in one.run("status", "demo", code=1)


def test_server_that_cannot_be_reached_is_no_traceback(tmp_path: Path) -> None:
    with plugin(tmp_path) as one:
        pass
    result = one.result("status", "demo")
    assert result.exit_code == 1
    assert result.output.startswith("Error: cannot read the cluster demo")


def test_context_that_does_not_exist_is_told(tmp_path: Path) -> None:
    with plugin(tmp_path) as one:
        assert "absent" in one.run("status", "demo", "--context", "absent", code=1)


def test_namespace_is_that_of_the_context(tmp_path: Path) -> None:
    with plugin(tmp_path) as one:
        config = str(tmp_path / "kubeconfig")
        for context, code in (("there", 0), ("here", 5)):
            words = ["status", "demo", "--kubeconfig", config, "--context", context]
            assert CliRunner().invoke(main, words).exit_code == code, one


def test_resource_without_status_says_that_no_operator_has_seen_it(tmp_path: Path) -> None:
    new = cluster()
    del new["status"]
    with plugin(tmp_path, new) as one:
        assert "No operator has seen this resource" in one.run("status", "demo")


def test_expired_certificate_stands_out(tmp_path: Path) -> None:
    with plugin(tmp_path, cluster(members=[member(0, certificateExpires="2020-01-01T00:00:00Z")])) as one:
        assert "expired" in one.run("certificates", "demo")


def test_logs_are_merged_by_time_with_the_member(tmp_path: Path) -> None:
    logs = {
        "demo-0": b"2026-11-30T05:00:01Z first\n2026-11-30T05:00:03Z third\n",
        "demo-1": b"2026-11-30T05:00:02Z second\n",
        "demo-2": b"",
    }

    def respond(request: Request) -> Response | None:
        if request.path.endswith("/log"):
            assert request.query["tailLines"] == "50"
            return Response(200, logs[request.path.split("/")[-2]])
        return None

    with plugin(tmp_path) as one:
        one.fake.behave = respond
        assert one.run("logs", "demo").splitlines() == ["demo-0 first", "demo-1 second", "demo-0 third"]
        assert one.run("logs", "demo", "1").splitlines() == ["demo-1 second"]
        assert "its members: demo-0, demo-1, demo-2" in one.run("logs", "demo", "9", code=5)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("{", "is not YAML"),
        ("kind: Pod\nmetadata: {name: x}", "allowed: one document, a CollectionStoreCluster"),
        ("kind: CollectionStoreCluster", "metadata.name is missing"),
        ("kind: CollectionStoreCluster\nmetadata: {name: demo}\nspec: 7", "spec is not an object"),
        ("kind: CollectionStoreCluster\nmetadata: {name: demo}\n---\nkind: Pod", "allowed: one document"),
    ],
)
def test_manifest_that_is_none_is_refused(tmp_path: Path, content: str, told: str) -> None:
    path = tmp_path / "demo.yaml"
    path.write_text(content)
    with plugin(tmp_path) as one:
        assert told in one.run("plan", "-f", str(path), code=3)


def test_manifest_of_another_namespace_is_refused(tmp_path: Path) -> None:
    """As with kubectl: what would be applied there must not be tried here."""
    path = tmp_path / "demo.yaml"
    path.write_text("kind: CollectionStoreCluster\nmetadata: {name: demo, namespace: prod}")
    with plugin(tmp_path) as one:
        assert "of namespace prod, not of shop" in one.run("plan", "-f", str(path), code=2)


def test_plan_of_a_change_is_that_of_the_installed_operator(tmp_path: Path) -> None:
    """With members that cannot be asked: nothing that needs their answer is possible."""
    path = tmp_path / "demo.yaml"
    path.write_text(
        "apiVersion: collectionstore.io/v1alpha1\nkind: CollectionStoreCluster\n"
        "metadata: {name: demo, namespace: shop}\nspec: {replicas: 5}"
    )
    with plugin(tmp_path) as one:
        found = json.loads(one.run("plan", "-f", str(path), "-o", "json"))
        assert one.writes() == []
        path.write_text(path.read_text().replace("5", "2"))
        assert "allowed: 3, 5, 7 or 9" in one.run("plan", "-f", str(path), code=3)
    assert (found["outcome"], found["changes"]) == ("configured", ["spec.replicas: 3 → 5"])
    assert found["assumed"]
    assert not [step for step in found["steps"] if step["disruptive"] and not step["waitsFor"]]


def test_manifest_with_an_alias_or_a_key_that_comes_twice_is_refused(tmp_path: Path) -> None:
    head = "kind: CollectionStoreCluster\nmetadata: {name: demo}\n"
    for content, told in (
        (f"{head}spec: {{pod: {{labels: &x {{a: b}}, annotations: *x}}}}", "alias"),
        (f"{head}spec: {{replicas: 3, replicas: 5}}", "'replicas' comes twice"),
    ):
        path = tmp_path / "demo.yaml"
        path.write_text(content)
        with plugin(tmp_path) as one:
            assert told in one.run("plan", "-f", str(path), code=3)


@pytest.mark.parametrize("words", LOOKING)
def test_control_characters_of_a_status_do_not_reach_the_terminal(tmp_path: Path, words: tuple[str, str]) -> None:
    """Not even those that set the title of a window, or move the cursor."""
    bad = "\x1b]0;title\x07\x1b[2Jtext"
    step = {"step": "RestartPod", "subject": bad, "reason": bad}
    found = cluster(
        members=[member(0, message=bad, certificateSerial=bad)],
        plan=[step],
        conditions=[condition("Ready", "True", bad, bad)],
    )
    with plugin(tmp_path, found) as one:
        output = one.run(*words)
        assert json.loads(one.run("status", "demo", "-o", "json"))["status"]["plan"][0]["reason"] == bad
    assert not {"\x1b", "\x07"} & set(output)


def test_names_of_backups_are_of_the_same_group() -> None:
    assert names.BACKUPS.api_version == names.CLUSTERS.api_version


@pytest.mark.parametrize(("variables", "colored"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_colors_are_for_terminals_and_not_with_no_color(
    tmp_path: Path, variables: dict[str, str], *, colored: bool
) -> None:
    with plugin(tmp_path):
        main_end, terminal = pty.openpty()
        words = ["status", "demo", "-n", "shop", "--kubeconfig", str(tmp_path / "kubeconfig")]
        program = Path(sys.executable).with_name("kubectl-collectionstore")
        environment = {"PATH": "/usr/bin", "TERM": "xterm-256color", **variables}
        subprocess.run([program, *words], stdout=terminal, env=environment, check=True, timeout=60)
        output = os.read(main_end, 1 << 16).decode()
        os.close(terminal)
        os.close(main_end)
    assert "demo-0" in output
    assert ("\x1b[32m" in output) is colored


def test_unexpected_error_is_told_without_a_traceback(tmp_path: Path) -> None:
    """Unless the user asks for it, for a bug report."""
    broken = cluster(members=[{"ordinal": 0}])
    words = ["status", "demo", "-n", "shop", "--kubeconfig", str(tmp_path / "kubeconfig")]
    program = Path(sys.executable).with_name("kubectl-collectionstore")
    with plugin(tmp_path, broken):
        for variables, told in (({}, "This is a bug of kubectl collectionstore"), ({TRACEBACK: "1"}, "Traceback")):
            done = subprocess.run(
                [program, *words], env={"PATH": "/usr/bin", **variables}, capture_output=True, text=True, check=False
            )
            assert done.returncode == 1
            assert told in done.stderr
            assert ("Traceback" in done.stderr) is bool(variables)
