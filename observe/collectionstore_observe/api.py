"""Asks a Prometheus over HTTP, as Grafana does."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import aiohttp

from collectionstore_observe.errors import ObserveFailed

_TIMEOUT_S: Final = 30.0


class QueryFailed(Exception):
    """Prometheus refused a query; the text is its reason."""


@dataclass(frozen=True, slots=True)
class Window:
    """A span of Unix time in seconds, and how far apart the points in it are."""

    start: float
    end: float
    step_s: float


@dataclass(frozen=True, slots=True)
class Series:
    """Labels, and (Unix time, value) points in order of time. Values that are not numbers are left out."""

    labels: Mapping[str, str]
    points: tuple[tuple[float, float], ...]

    @property
    def last(self) -> float:
        return self.points[-1][1]


class PrometheusApi:
    """One Prometheus, by its base URL."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url

    async def query(self, expression: str, at: float | None = None) -> list[Series]:
        """Return the result at one time, now by default. Raises `QueryFailed`."""
        parameters = {"query": expression} | ({} if at is None else {"time": f"{at:.3f}"})
        data = await self._get("query", parameters)
        if data["resultType"] == "scalar":
            return [_series({}, [data["result"]])]
        return [_series(one["metric"], [one["value"]]) for one in data["result"]]

    async def query_range(self, expression: str, window: Window) -> list[Series]:
        """Return the answer over a span of time; series without a number are left out. Raises `QueryFailed`."""
        parameters = {
            "query": expression,
            "start": f"{window.start:.3f}",
            "end": f"{window.end:.3f}",
            "step": f"{window.step_s:g}",
        }
        data = await self._get("query_range", parameters)
        found = [_series(one["metric"], one["values"]) for one in data["result"]]
        return [one for one in found if one.points]

    async def label_values(self, selector: str, label: str) -> list[str]:
        """Return the values of a label, of the selected series where a selector is given. Raises `QueryFailed`."""
        values: list[str] = await self._get(f"label/{label}/values", {"match[]": selector} if selector else {})
        return values

    async def rules(self) -> list[dict[str, Any]]:
        """Return every rule with its health and its alerts."""
        groups = (await self._get("rules", {}))["groups"]
        return [rule for group in groups for rule in group["rules"]]

    async def targets(self) -> list[dict[str, Any]]:
        """Return every target that is scraped, with its health and last error."""
        targets: list[dict[str, Any]] = (await self._get("targets", {"state": "active"}))["activeTargets"]
        return targets

    async def is_ready(self) -> bool:
        """Return whether it answers queries."""
        try:
            async with self._session.get(f"{self._url}/-/ready", timeout=aiohttp.ClientTimeout(_TIMEOUT_S)) as response:
                return response.status == 200
        except (aiohttp.ClientError, OSError):
            return False

    async def _get(self, path: str, parameters: Mapping[str, str]) -> Any:
        url = f"{self._url}/api/v1/{path}"
        try:
            async with (
                asyncio.timeout(_TIMEOUT_S),
                self._session.get(url, params=parameters) as response,
            ):
                answer = await response.json()
        except (aiohttp.ClientError, OSError) as error:  # TimeoutError is an OSError
            raise ObserveFailed(f"{url} does not answer: {error!r}") from error
        if answer["status"] != "success":
            raise QueryFailed(f"{answer['errorType']}: {answer['error']}")
        return answer["data"]


def _series(labels: Mapping[str, str], values: list[tuple[float, str]]) -> Series:
    points = ((at, float(value)) for at, value in values)
    return Series(labels, tuple(point for point in points if not math.isnan(point[1])))
