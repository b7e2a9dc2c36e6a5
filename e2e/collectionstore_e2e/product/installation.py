"""The operator, installed from its chart into a scenario's namespace; by default it watches only that one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.errors import CommandRefused
from collectionstore_e2e.harness.kinds import CLUSTER, POD, ROLE, USER, Object, is_ready
from collectionstore_e2e.product.helm import helm
from collectionstore_testkit.places import REPOSITORY

RELEASE: Final = "op"
NAME: Final = f"{RELEASE}-collectionstore-operator"
CHART: Final = REPOSITORY / "charts" / "collectionstore-operator"
DEFINITIONS: Final = REPOSITORY / "crds"
LEASE_NAME: Final = NAME
LABELS: Final = f"app.kubernetes.io/instance={RELEASE},app.kubernetes.io/name=collectionstore-operator"
START_S: Final = 60.0
GONE_S: Final = 90.0
HEALTH_PORT: Final = 8080


class Operator:
    """An installed operator."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def pods(self) -> list[Object]:
        """Return its pods."""
        return await self._context.client.list_all(POD, labels=LABELS)

    async def counters(self, series: str) -> dict[str, float]:
        """Return the values of one metric of the active operator, by its labels in text format."""
        pod = (await self.until_ready())["metadata"]["name"]
        return samples(await self._context.client.ask_pod(pod, HEALTH_PORT, "/metrics"), series)

    async def kill(self) -> None:
        """Kill its pods without a grace period: the Lease is not released. The Deployment creates a new pod."""
        for one in await self.pods():
            await self._context.client.delete(POD, one["metadata"]["name"], grace_s=0)

    async def stop(self) -> None:
        """Have no pod of it, and wait until the last one has ended; clusters stay as they are."""
        await self._context.kubectl("scale", f"deployment/{NAME}", "--replicas=0")
        await self._context.client.until(
            POD, lambda left: not left, what="no operator left", timeout_s=START_S, labels=LABELS
        )

    async def start(self) -> None:
        """Have one pod again, and wait until it is Ready."""
        await self._context.kubectl("scale", f"deployment/{NAME}", "--replicas=1")
        await self.until_ready()

    async def upgrade(self, image: str) -> None:
        """Run `helm upgrade` to another image, and wait until it is rolled out."""
        settings = ["--reset-then-reuse-values", *image_settings(image), "--wait", f"--timeout={START_S:.0f}s"]
        await helm(self._context)("upgrade", RELEASE, str(CHART), *settings)

    async def until_ready(self) -> Object:
        """Wait until one of its pods is Ready, and return that pod."""
        pods = await self._context.client.until(
            POD,
            lambda found: any(map(is_ready, found.values())),
            what="the operator Ready",
            timeout_s=START_S,
            labels=LABELS,
        )
        return next(filter(is_ready, pods.values()))


@asynccontextmanager
async def operator(
    context: Context, *settings: str, watched: Sequence[str] = (), image: str = "", chart: Path = CHART
) -> AsyncIterator[Operator]:
    """Install the operator for the duration of the block; `settings` are further arguments of Helm.

    `image` and `chart` replace this checkout's.

    The CustomResourceDefinition is updated to this checkout's; it is shared with other scenarios, so it is kept. At
    the end all clusters in the operator's namespaces are deleted, and only then the operator, which must remove their
    finalizers.
    """
    namespaces = list(watched) or [context.namespace]
    await define(context)
    watching = f"--set=watchNamespaces={{{','.join(namespaces)}}}"
    try:
        chosen = image_settings(image or context.images.operator)
        await install(context, watching, "--set=crds.install=false", *chosen, *settings, chart=chart)
        yield Operator(context)
    except BaseException:
        # Not before the evidence is collected: it is in what would be gone.
        context.later.push_async_callback(uninstall, context, namespaces)
        raise
    await uninstall(context, namespaces)


async def define(context: Context) -> None:
    """Apply the CustomResourceDefinitions of this checkout; all scenarios share them, so they are kept."""
    await context.kubectl("apply", "--server-side", "--force-conflicts", f"--filename={DEFINITIONS}")
    await context.kubectl("wait", "--for=condition=Established", f"--filename={DEFINITIONS}", "--timeout=60s")


async def install(context: Context, *settings: str, wait: bool = True, chart: Path = CHART) -> None:
    """Install the chart as a user does."""
    waiting = [f"--timeout={START_S:.0f}s", "--wait"] if wait else []
    await helm(context)("install", RELEASE, str(chart), *image_settings(context.images.operator), *waiting, *settings)


async def uninstall(context: Context, namespaces: Sequence[str]) -> None:
    """Delete all clusters of these namespaces, then the operator, which must remove their finalizers first."""
    try:
        for namespace in namespaces:
            await clear(context, namespace)
    finally:
        try:
            await helm(context)("uninstall", RELEASE)
        except CommandRefused as refused:
            context.say(f"the operator was not uninstalled: {refused}")


async def clear(context: Context, namespace: str) -> None:
    """Delete all users, roles and clusters of a namespace, and wait until they are deleted: each has a finalizer."""
    client = context.client.within(namespace)
    for kind in (USER, ROLE):
        for one in await client.list_all(kind):
            await client.delete(kind, one["metadata"]["name"])
        # A role is deleted only when no user has it any more.
        await client.until(kind, lambda left: not left, what=f"no {kind.plural} left", timeout_s=GONE_S)
    for one in await client.list_all(CLUSTER):
        await client.patch(CLUSTER, one["metadata"]["name"], {"spec": {"paused": False, "deletionProtection": False}})
        await client.delete(CLUSTER, one["metadata"]["name"])
    await client.until(CLUSTER, lambda left: not left, what="no cluster left", timeout_s=GONE_S)
    # The users of Prometheus go with their clusters.
    await client.until(USER, lambda left: not left, what="no user left", timeout_s=GONE_S)


def samples(exposition: str, series: str) -> dict[str, float]:
    """Return the samples of a metric in an exposition, by their labels. Source: Prometheus text format 0.0.4."""
    found = {}
    for line in exposition.splitlines():
        name, brace, rest = line.partition("{")
        if name == series and brace:
            labels, _, value = rest.rpartition("} ")
            found[labels] = float(value)
    return found


def image_settings(image: str) -> list[str]:
    """Return the chart's settings for an image such as `registry/name:tag` or `registry/name@sha256:...`."""
    if "@" in image:
        repository, _, digest = image.partition("@")
        return [f"--set=image.repository={repository}", f"--set=image.digest={digest}"]
    repository, _, tag = image.rpartition(":")
    if not repository or "/" in tag:
        return [f"--set=image.repository={image}"]
    return [f"--set=image.repository={repository}", f"--set=image.tag={tag}"]
