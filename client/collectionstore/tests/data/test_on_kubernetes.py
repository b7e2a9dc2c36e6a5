"""Clusters on Kubernetes by name: what is read of the API server, and the way to a member through it."""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from collectionstore.kubernetes import names
from collectionstore.kubernetes.api_server import ApiError, ApiServer
from collectionstore.plugin import main as plugin_main
from collectionstore.tests.data.running import Csctl
from collectionstore.tests.operate.recorded import Plugin, cluster, plugin


class Dials:
    """Connections to pods, which all lead to the engine in memory, but for those that refuse."""

    def __init__(self, url: str) -> None:
        self.port = int(url.rpartition(":")[2])
        self.made: list[tuple[str, str, int]] = []
        self.refused: set[str] = set()

    def dial(self, server: ApiServer, namespace: str, pod: str, port: int) -> socket.socket:
        self.made.append((namespace, pod, port))
        if pod in self.refused:
            raise ApiError(f"port-forward to {pod}: forbidden", status=403)
        return socket.create_connection(("127.0.0.1", self.port))


@pytest.fixture
def dials(csctl: Csctl, monkeypatch: pytest.MonkeyPatch) -> Dials:
    found = Dials(csctl.url)
    monkeypatch.setattr(ApiServer, "dial", lambda *words: found.dial(*words))
    return found


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Plugin]:
    """A cluster `demo` in the namespace `shop`, without TLS for clients."""
    resource = cluster()
    resource.setdefault("spec", {})["tls"] = {"client": "Disabled"}
    with plugin(tmp_path, resource) as one:
        yield one


def where(tmp_path: Path) -> tuple[str, ...]:
    return ("-n", "shop", "--kubeconfig", str(tmp_path / "kubeconfig"))


def test_a_cluster_is_found_by_its_name(csctl: Csctl, books: str, shop: Plugin, dials: Dials, tmp_path: Path) -> None:
    assert csctl.ok("count", books, "-k", "--cluster", "demo", *where(tmp_path)).out == "3\n"
    assert {(namespace, port) for namespace, _, port in dials.made} == {("shop", names.CLIENT_PORT)}
    assert csctl.ok("count", books, *where(tmp_path)).out == "3\n"
    csctl.ok("context", "set", "shop", "-k", "--cluster", "demo", *where(tmp_path))
    assert csctl.ok("count", books, "--context", "shop").out == "3\n"
    missing = csctl("count", books, "-k", "--cluster", "nope", *where(tmp_path))
    assert (missing.code, "nope" in missing.err) == (5, True)


def test_the_plugin_means_a_cluster_on_kubernetes(
    csctl: Csctl, books: str, shop: Plugin, dials: Dials, tmp_path: Path
) -> None:
    result = CliRunner().invoke(
        plugin_main, ["count", books, "--cluster", "demo", *where(tmp_path)], env=csctl.environment
    )
    assert (result.exit_code, result.stdout) == (0, "3\n")
    assert dials.made


def test_another_member_is_taken_when_one_refuses(
    csctl: Csctl, books: str, shop: Plugin, dials: Dials, tmp_path: Path
) -> None:
    dials.refused = {"demo-0", "demo-1"}
    assert csctl.ok("count", books, "--cluster", "demo", *where(tmp_path)).out == "3\n"
    dials.refused.add("demo-2")
    refused = csctl("count", books, "--cluster", "demo", "--timeout", "500ms", *where(tmp_path))
    assert (refused.code, "forbidden" in refused.err) == (14, True), refused.err


def test_credentials_come_from_a_secret_and_are_not_shown(
    csctl: Csctl, books: str, shop: Plugin, dials: Dials, tmp_path: Path
) -> None:
    def encoded(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    secret: dict[str, Any] = {"metadata": {"name": "ada"}, "data": {"uri": encoded("http://demo.shop.svc:7400")}}
    secret["data"]["token"] = encoded("cst_sekrit")
    shop.fake.objects[names.SECRETS.path("shop", "ada")] = secret
    csctl.ok("context", "set", "ada", "-k", "--cluster", "demo", *where(tmp_path), "--secret", "ada")
    outcome = csctl("count", books, "--context", "ada")
    assert outcome.code == 0, outcome.err
    assert "sekrit" not in csctl.ok("context", "show", "ada").out
    secret["data"]["token"] = "not base64!"
    damaged = csctl("count", books, "--context", "ada")
    assert (damaged.code, "not base64" in damaged.err) == (1, True)
    csctl.ok("context", "set", "eve", "-k", "--cluster", "demo", *where(tmp_path), "--secret", "eve")
    assert csctl("count", books, "--context", "eve").code == 5
