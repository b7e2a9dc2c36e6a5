"""Tests of what is made of a PodMonitor."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

from collectionstore_e2e.product.monitoring import discovered, scrape_configs
from collectionstore_operator.manifests import podmonitor
from collectionstore_operator.resource.desired import Desired
from collectionstore_testkit.tools.prometheus import promtool


def test_a_pod_monitor_becomes_a_job_that_prometheus_understands(tmp_path: Path) -> None:
    (job,) = scrape_configs(podmonitor.build(Desired(name="demo")).body, "data")
    assert job["file_sd_configs"] == [{"files": ["/data/demo.json"], "refresh_interval": "2s"}]
    assert job["relabel_configs"][0]["regex"] == "metrics"
    assert job["relabel_configs"][-1] == {"target_label": "job", "replacement": "collectionstore-node"}
    written = tmp_path / "prometheus.yaml"
    written.write_text(yaml.safe_dump({"scrape_configs": [job]}))
    subprocess.run([str(promtool()), "check", "config", "--syntax-only", str(written)], check=True)


def test_a_pod_is_found_with_its_labels_and_its_ports() -> None:
    found = {
        "metadata": {"name": "demo-0", "namespace": "data", "labels": {"app.kubernetes.io/instance": "demo"}},
        "spec": {"containers": [{"name": "node", "ports": [{"name": "metrics", "containerPort": 7402}]}]},
        "status": {"podIP": "10.0.0.7"},
    }
    assert discovered(found) == [
        {
            "targets": ["10.0.0.7:7402"],
            "labels": {
                "__meta_kubernetes_namespace": "data",
                "__meta_kubernetes_pod_name": "demo-0",
                "__meta_kubernetes_pod_label_app_kubernetes_io_instance": "demo",
                "__meta_kubernetes_pod_container_name": "node",
                "__meta_kubernetes_pod_container_port_name": "metrics",
            },
        }
    ]
    assert discovered({**found, "status": {}}) == []
