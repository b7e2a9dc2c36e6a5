"""A Prometheus in a scenario's namespace, configured by PodMonitors and a PrometheusRule.

The Prometheus operator, which reads those objects, is not needed: its configuration is generated here. Debian's
Prometheus is built without Kubernetes service discovery; so the scenario lists the pods and writes them as file-based
discovery, with the same meta labels. All relabeling is Prometheus's own.
Source: prometheus-operator, pkg/prometheus/promcfg.go, generatePodMonitorConfig.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import yaml

from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.errors import DeadlinePassed, Refused
from collectionstore_e2e.harness.kinds import POD, Object, is_ready
from collectionstore_e2e.harness.objects import START_S, container, pod, pod_spec

NAME: Final = "prometheus"
PORT: Final = 9090
SCRAPE: Final = "2s"
FOLDER: Final = "/etc/prometheus"
DATA: Final = "/data"
AGAIN_S: Final = 0.5
MOUNTS: Final = "/mounts"
META: Final = "__meta_kubernetes_pod"


class Prometheus:
    """A running Prometheus."""

    def __init__(self, context: Context, monitors: Sequence[Object]) -> None:
        self._context = context
        self._monitors = monitors

    async def targets(self) -> list[Object]:
        """Return its active targets, with labels, health and last error."""
        found: list[Object] = (await self._ask("targets"))["activeTargets"]
        return found

    async def rules(self) -> list[Object]:
        """Return every rule with its health and time of evaluation."""
        return [rule for group in (await self._ask("rules"))["groups"] for rule in group["rules"]]

    async def until_targets(
        self, holds: Callable[[list[Object]], bool], *, what: str, timeout_s: float
    ) -> list[Object]:
        """Wait until `holds` is true of the targets. Raises `DeadlinePassed` with their last state."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while True:
            await self._discover()
            found = await self.targets()
            if holds(found):
                return found
            if asyncio.get_running_loop().time() > deadline:
                states = [f"{one['labels']} {one['health']} {one['lastError']}" for one in found]
                raise DeadlinePassed(f"{what}: not within {timeout_s:.0f} s. {'; '.join(states)}")
            await asyncio.sleep(AGAIN_S)

    async def until_evaluated(self, *, timeout_s: float) -> list[Object]:
        """Wait until every rule was evaluated, and return them. Raises `DeadlinePassed`."""
        deadline = asyncio.get_running_loop().time() + timeout_s
        while True:
            rules = await self.rules()
            waiting = [one["name"] for one in rules if one["health"] == "unknown"]
            if rules and not waiting:
                return rules
            if asyncio.get_running_loop().time() > deadline:
                raise DeadlinePassed(f"rules not evaluated within {timeout_s:.0f} s: {waiting or 'all'}")
            await asyncio.sleep(AGAIN_S)

    async def _discover(self) -> None:
        """Update the file-based discovery with the current pods."""
        for one in self._monitors:
            selector = ",".join(f"{name}={value}" for name, value in one["spec"]["selector"]["matchLabels"].items())
            groups = [
                group
                for found in await self._context.client.list_all(POD, labels=selector)
                for group in discovered(found)
            ]
            file = _file(one)
            # A rename, because Prometheus may read the file at any time and must not see half of it.
            write = f"cat > {file}.new && mv {file}.new {file}"
            await self._context.kubectl.exec(NAME, "/bin/sh", "-c", write, stdin=json.dumps(groups))

    async def _ask(self, what: str) -> Any:
        try:
            answer = await self._context.client.ask_pod(NAME, PORT, f"api/v1/{what}")
        except Refused as refused:
            raise AssertionError(f"Prometheus does not respond: {refused}") from refused
        return json.loads(answer)["data"]


@asynccontextmanager
async def prometheus(context: Context, monitors: Sequence[Object], rule: Object) -> AsyncIterator[Prometheus]:
    """Run a Prometheus in the namespace for the duration of the block."""
    settings = {
        "global": {"scrape_interval": SCRAPE, "scrape_timeout": SCRAPE, "evaluation_interval": SCRAPE},
        "rule_files": [f"{FOLDER}/rules.yaml"],
        "scrape_configs": [job for one in monitors for job in scrape_configs(one, context.namespace)],
    }
    files = {"prometheus.yaml": yaml.safe_dump(settings), "rules.yaml": yaml.safe_dump(rule["spec"])}
    await context.client.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": NAME}, "data": files})
    await context.client.apply(_pod(context, _mounted(monitors)))
    await context.client.until_one(POD, NAME, is_ready, what="Prometheus Ready", timeout_s=START_S)
    yield Prometheus(context, monitors)
    await context.client.delete(POD, NAME)


def scrape_configs(monitor: Object, namespace: str) -> list[Object]:
    """Return the scrape configurations that the Prometheus operator generates for a PodMonitor: a job per endpoint."""
    return [
        {
            "job_name": f"podMonitor/{namespace}/{monitor['metadata']['name']}/{number}",
            "metrics_path": endpoint["path"],
            "honor_labels": endpoint.get("honorLabels", False),
            **_secured(endpoint),
            "file_sd_configs": [{"files": [_file(monitor)], "refresh_interval": SCRAPE}],
            "relabel_configs": [
                {"action": "keep", "source_labels": [f"{META}_container_port_name"], "regex": endpoint["port"]},
                {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
                {"source_labels": [f"{META}_container_name"], "target_label": "container"},
                {"source_labels": [f"{META}_name"], "target_label": "pod"},
                *map(_relabeling, endpoint.get("relabelings", [])),
            ],
        }
        for number, endpoint in enumerate(monitor["spec"]["podMetricsEndpoints"])
    ]


def _secured(endpoint: Object) -> Object:
    """Return how the members of an endpoint are verified, and the token that they get; nothing for plain HTTP."""
    if endpoint.get("scheme") != "https":
        return {}
    tls, credentials = endpoint["tlsConfig"], endpoint["authorization"]["credentials"]
    authority = tls["ca"]["configMap"]
    return {
        "scheme": "https",
        "tls_config": {
            "ca_file": f"{MOUNTS}/{authority['name']}/{authority['key']}",
            "server_name": tls["serverName"],
        },
        "authorization": {
            "type": endpoint["authorization"]["type"],
            "credentials_file": f"{MOUNTS}/{credentials['name']}/{credentials['key']}",
        },
    }


def _mounted(monitors: Sequence[Object]) -> dict[str, Object]:
    """Return the volumes of what the endpoints refer to, by the folder that each is mounted at."""
    found: dict[str, Object] = {}
    for endpoint in (one for monitor in monitors for one in monitor["spec"]["podMetricsEndpoints"]):
        if endpoint.get("scheme") == "https":
            authority = endpoint["tlsConfig"]["ca"]["configMap"]["name"]
            secret = endpoint["authorization"]["credentials"]["name"]
            found[authority] = {"name": authority, "configMap": {"name": authority}}
            found[secret] = {"name": secret, "secret": {"secretName": secret}}
    return found


def discovered(found: Object) -> list[Object]:
    """Return a pod's ports as targets with the meta labels of Prometheus's discovery; none for a pod without an IP.

    Source: Prometheus documentation, configuration, kubernetes_sd_config, role pod.
    """
    address = found.get("status", {}).get("podIP")
    if not address:
        return []
    labels = {
        f"{META}_label_{re.sub('[^a-zA-Z0-9_]', '_', name)}": value
        for name, value in found["metadata"].get("labels", {}).items()
    }
    labels |= {"__meta_kubernetes_namespace": found["metadata"]["namespace"], f"{META}_name": found["metadata"]["name"]}
    return [
        {
            "targets": [f"{address}:{port['containerPort']}"],
            "labels": {
                **labels,
                f"{META}_container_name": one["name"],
                f"{META}_container_port_name": port.get("name", ""),
            },
        }
        for one in found["spec"]["containers"]
        for port in one.get("ports", [])
    ]


def _file(monitor: Object) -> str:
    return f"{DATA}/{monitor['metadata']['name']}.json"


def _relabeling(given: Object) -> Object:
    names = {"sourceLabels": "source_labels", "targetLabel": "target_label"}
    return {names.get(name, name): value for name, value in given.items()}


def _pod(context: Context, mounted: dict[str, Object]) -> Object:
    main = container(
        NAME,
        context.images.prometheus,
        args=[f"--config.file={FOLDER}/prometheus.yaml", f"--storage.tsdb.path={DATA}/series", "--log.level=warn"],
        ports=[{"name": "web", "containerPort": PORT}],
        readinessProbe={"httpGet": {"path": "/-/ready", "port": PORT}, "periodSeconds": 1},
        volumeMounts=[
            {"name": "settings", "mountPath": FOLDER, "readOnly": True},
            {"name": "data", "mountPath": DATA},
            *({"name": name, "mountPath": f"{MOUNTS}/{name}", "readOnly": True} for name in mounted),
        ],
    )
    volumes = [{"name": "settings", "configMap": {"name": NAME}}, {"name": "data", "emptyDir": {}}, *mounted.values()]
    return pod(NAME, pod_spec(main, volumes=volumes))
