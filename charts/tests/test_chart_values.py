"""Values that cannot work are refused before anything is installed, by a message that names the value."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from collectionstore_charts.helm import CLUSTER, OPERATOR, HelmFailed, template

OPERATOR_REFUSED = [
    ({"replicas": 2}, "additional properties 'replicas' not allowed"),
    ({"image.name": "x"}, "at '/image': additional properties 'name' not allowed"),
    ({"replicaCount": -1}, "at '/replicaCount': minimum: got -1, want 0"),
    ({"replicaCount": "2"}, "at '/replicaCount': got string, want integer"),
    ({"watchNamespaces": "team-a"}, "at '/watchNamespaces': got string, want array"),
    ({"watchNamespaces": ["Team_A"]}, "at '/watchNamespaces/0': 'Team_A' does not match pattern"),
    ({"watchNamespaces": ["a", "a"]}, "at '/watchNamespaces': items at 0 and 1 are equal"),
    ({"image.digest": "sha256:12"}, "at '/image/digest': 'sha256:12' does not match pattern"),
    ({"image.repository": ""}, "at '/image/repository'"),
    ({"image.pullPolicy": "always"}, "at '/image/pullPolicy': value must be one of 'Always', 'IfNotPresent', 'Never'"),
    ({"logLevel": "trace"}, "at '/logLevel': value must be one of 'debug', 'info', 'warning', 'error'"),
    ({"commonLabels": {"app.kubernetes.io/name": "x"}}, "at '/commonLabels/app.kubernetes.io~1name'"),
    ({"podLabels": {"a": True}}, "at '/podLabels/a': got boolean, want string"),
    ({"podDisruptionBudget.maxUnavailable": 0}, "at '/podDisruptionBudget/maxUnavailable': minimum: got 0, want 1"),
    ({"podMonitor.interval": "30"}, "at '/podMonitor/interval': '30' does not match pattern"),
    ({"crds.install": "yes"}, "at '/crds/install': got string, want boolean"),
    ({"serviceAccount.create": False}, "serviceAccount.name is required if serviceAccount.create is false"),
]
CLUSTER_REFUSED = [
    ({"replica": 5}, "additional properties 'replica' not allowed"),
    ({"replicas": 11}, "at '/replicas': maximum: got 11, want 9"),
    ({"replicas": None}, "missing property 'replicas'"),
    ({"storage.size": "10 GB"}, "at '/storage/size': '10 GB' does not match pattern"),
    ({"storage.sise": "1Gi"}, "additional properties 'sise' not allowed"),
    ({"storage.retention": "Keep"}, "at '/storage/retention': value must be one of"),
    ({"tls.client": "Off"}, "at '/tls/client': value must be one of"),
    ({"failedMember.graceSeconds": 1}, "at '/failedMember/graceSeconds': minimum: got 1, want 5"),
    ({"raft.profile": "slow"}, "at '/raft/profile': value must be one of"),
    ({"local.basePort": 7400}, "additional properties 'local' not allowed"),
    ({"labels": {"helm.sh/chart": "x"}}, "at '/labels/helm.sh~1chart'"),
    ({"test.timeoutSeconds": 0}, "at '/test/timeoutSeconds': minimum: got 0, want 1"),
]
REFUSED = [(OPERATOR, *one) for one in OPERATOR_REFUSED] + [(CLUSTER, *one) for one in CLUSTER_REFUSED]


@pytest.mark.parametrize(("chart", "values", "message"), REFUSED, ids=lambda one: str(one)[:60])
def test_a_value_that_cannot_work_is_refused_by_name(chart: Path, values: dict[str, Any], message: str) -> None:
    with pytest.raises(HelmFailed) as caught:
        template(chart, values)
    assert message in str(caught.value)


@pytest.mark.parametrize("chart", [OPERATOR, CLUSTER], ids=lambda chart: chart.name)
def test_a_chart_can_be_part_of_another(chart: Path) -> None:
    # Helm gives every dependency a value of its own.
    assert template(chart, {"global": {"region": "x"}})
