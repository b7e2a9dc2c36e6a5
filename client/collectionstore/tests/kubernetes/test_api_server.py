"""The read-only client: lists in pages, retries what is transient, and tells a pod's response from a refusal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from collectionstore.kubernetes import names
from collectionstore.kubernetes.api_server import ApiError, ApiServer, KubernetesUnavailable, connect
from collectionstore.tests.kubernetes.fake_api_server import FakeApiServer, Request, Response, refusal


@pytest.fixture
def fake() -> FakeApiServer:
    return FakeApiServer()


@pytest.fixture
def server(fake: FakeApiServer) -> Iterator[ApiServer]:
    with fake as client:
        yield client


def put_pods(fake: FakeApiServer, *pods: str) -> None:
    for pod in pods:
        path = names.PODS.path("shop", pod)
        fake.objects[path] = {"metadata": {"name": pod, "labels": names.member_labels("demo")}}


def test_list_follows_the_continue_token(fake: FakeApiServer, server: ApiServer) -> None:
    """The fake API server sends two objects per page."""
    put_pods(fake, "demo-0", "demo-1", "demo-2")
    found = server.list_objects(names.PODS, "shop", names.member_labels("demo"))
    assert [pod["metadata"]["name"] for pod in found] == ["demo-0", "demo-1", "demo-2"]
    assert [request.query.get("continue") for request in fake.requests] == [None, "2"]
    assert server.list_objects(names.PODS, "shop", names.member_labels("other")) == []


def test_list_starts_again_when_its_token_expired(fake: FakeApiServer, server: ApiServer) -> None:
    """410 Gone: the snapshot was compacted while the list was read."""
    put_pods(fake, "demo-0", "demo-1", "demo-2")
    expired = [refusal(410, "Expired", "the provided continue parameter is too old")]
    fake.behave = lambda request: expired.pop() if "continue" in request.query and expired else None
    assert len(server.list_objects(names.PODS, "shop")) == 3
    assert [request.query.get("continue") for request in fake.requests] == [None, "2", None, "2"]


def test_transient_errors_of_an_object_are_retried(fake: FakeApiServer, server: ApiServer) -> None:
    failures = [Response(503, b""), Response(429, b"")]
    fake.behave = lambda _request: failures.pop() if failures else Response(200, {"kind": "Node"})
    assert server.get_object("/api/v1/nodes/n1") == {"kind": "Node"}
    assert len(fake.requests) == 3


def test_a_lasting_error_has_the_reason(fake: FakeApiServer, server: ApiServer) -> None:
    fake.behave = lambda _request: refusal(403, "Forbidden", "nodes is forbidden")
    with pytest.raises(ApiError, match="GET /api/v1/nodes/n1: nodes is forbidden") as caught:
        server.get_object("/api/v1/nodes/n1")
    assert caught.value.status == 403
    assert len(fake.requests) == 1


def test_response_of_a_pod_is_content_whatever_its_status(fake: FakeApiServer, server: ApiServer) -> None:
    """One try: a readiness page that answers 503 is a result, not a failure to retry."""
    fake.behave = lambda _request: Response(503, {"code": "not_ready"})
    assert (
        server.read("/api/v1/namespaces/shop/pods/demo-0:7402/proxy/readyz", bytes_max=99) == b'{"code": "not_ready"}'
    )
    assert len(fake.requests) == 1


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (refusal(404, "NotFound", 'pods "demo-0" not found'), 'pods "demo-0" not found'),
        (Response(502, b"error trying to reach service"), "error trying to reach service"),
    ],
)
def test_refusal_of_the_api_server_is_an_error(
    fake: FakeApiServer, server: ApiServer, response: Response, reason: str
) -> None:
    fake.behave = lambda _request: response
    with pytest.raises(ApiError, match=reason):
        server.read("/api/v1/namespaces/shop/pods/demo-0/log", bytes_max=99)


def test_read_is_bounded_and_passes_its_query(fake: FakeApiServer, server: ApiServer) -> None:
    fake.behave = lambda _request: Response(200, b"x" * 1000)
    assert server.read("/log", {"container": "node"}, bytes_max=10) == b"x" * 10
    assert fake.requests == [Request("/log", {"container": "node"})]


def test_api_server_that_is_gone_is_an_error(fake: FakeApiServer) -> None:
    with fake as server:
        pass
    with pytest.raises(ApiError, match="GET /version"):
        server.read("/version", bytes_max=99)


def test_missing_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """None in sys.modules makes the import fail as if the package were not installed."""
    monkeypatch.setitem(sys.modules, "kubernetes.client", None)
    with pytest.raises(KubernetesUnavailable, match=r"pip install 'collectionstore\[kubernetes\]'"), connect("x"):
        pass


def test_unusable_kubeconfig_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nothing"
    with pytest.raises(KubernetesUnavailable, match=f"cannot use the kubeconfig {path}"), connect(str(path)):
        pass


def test_requests_carry_the_credentials_of_the_kubeconfig(fake: FakeApiServer, tmp_path: Path) -> None:
    kubeconfig = tmp_path / "config"
    with fake:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "shop",
            "contexts": [{"name": "shop", "context": {"cluster": "shop", "user": "ada", "namespace": "data"}}],
            "clusters": [{"name": "shop", "cluster": {"server": fake.url}}],
            "users": [{"name": "ada", "user": {"token": "t0k3n"}}],
        }
        kubeconfig.write_text(json.dumps(config))
        put_pods(fake, "demo-0")
        with connect(str(kubeconfig)) as server:
            assert server.namespace == "data"
            assert len(server.list_objects(names.PODS, "shop")) == 1
            assert server.read(names.PODS.path("shop", "demo-0"), bytes_max=99)
    assert fake.tokens == ["Bearer t0k3n", "Bearer t0k3n"]
