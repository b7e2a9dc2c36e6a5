"""Monitoring with Prometheus, configured as by users of the Prometheus operator."""

from __future__ import annotations

from typing import Final

import yaml

from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import Object
from collectionstore_e2e.harness.scenario import scenario
from collectionstore_e2e.product.helm import helm
from collectionstore_e2e.product.installation import CHART, RELEASE, operator
from collectionstore_e2e.product.monitoring import Prometheus, prometheus
from collectionstore_e2e.product.store import MEMBERS, READY_S, Store
from collectionstore_operator.manifests import podmonitor
from collectionstore_operator.resource.desired import Desired

SEEN_S: Final = 60.0
EVALUATED_S: Final = 120.0


@scenario(timeout_s=300)
async def prometheus_scrapes_every_member(context: Context) -> None:
    """The PodMonitors discover and label all pods, also a recreated one, and every rule is evaluated."""
    async with operator(context):
        store = Store(context)
        await store.apply()
        await store.until_settled(3, timeout_s=READY_S)
        monitors = [podmonitor.build(Desired(name=store.name)).body, await _rendered(context, "podMonitor")]
        async with prometheus(context, monitors, await _rendered(context, "prometheusRule")) as seen:
            await seen.until_targets(_all_up, what="every member and the operator up", timeout_s=SEEN_S)
            await _labelled(context, seen)
            await _evaluated(context, seen)
            before = _address(await seen.targets())
            await store.delete_pod(MEMBERS[0])
            await seen.until_targets(
                lambda found: _all_up(found) and _address(found) != before,
                what=f"the new pod of {MEMBERS[0]} up",
                timeout_s=READY_S,
            )


async def _rendered(context: Context, part: str) -> Object:
    """Return the object that the operator's chart renders if `part` is enabled."""
    shown = f"--show-only=templates/{part.lower()}.yaml"
    text = await helm(context)("template", RELEASE, str(CHART), f"--set={part}.enabled=true", shown)
    found: Object = yaml.safe_load(text)
    return found


def _all_up(targets: list[Object]) -> bool:
    instances = {one["labels"]["instance"] for one in targets if one["health"] == "up"}
    return len(targets) == len(instances) == len(MEMBERS) + 1 and instances.issuperset(MEMBERS)


def _address(targets: list[Object]) -> str:
    found: str = next(one["scrapeUrl"] for one in targets if one["labels"]["instance"] == MEMBERS[0])
    return found


async def _labelled(context: Context, seen: Prometheus) -> None:
    for one in await seen.targets():
        labels, member = one["labels"], one["labels"]["instance"] in MEMBERS
        expected = {"namespace": context.namespace, "job": f"collectionstore-{'node' if member else 'operator'}"}
        expected |= {"cluster": "demo"} if member else {}
        found = {name: labels.get(name) for name in ("namespace", "job", *(("cluster",) if member else ()))}
        assert found == expected, f"labels of {labels['instance']}: {found}, expected {expected}"


async def _evaluated(context: Context, seen: Prometheus) -> None:
    rules = await seen.until_evaluated(timeout_s=EVALUATED_S)
    wrong = [f"{one['name']}: {one.get('lastError', '')}" for one in rules if one["health"] != "ok"]
    assert not wrong, f"rules that cannot be evaluated: {'; '.join(wrong)}"
    firing = [one["name"] for one in rules if one.get("state") == "firing"]
    assert not firing, f"alerts that fire on a healthy cluster: {', '.join(firing)}"
    context.say(f"{len(rules)} rules evaluated, no alert fires")
