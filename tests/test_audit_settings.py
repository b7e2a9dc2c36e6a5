"""What the operator makes of `spec.audit`, a node understands."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from collectionstore_node.access.verbs import Verb
from collectionstore_node.audit.rules import RULES_MAX
from collectionstore_node.audit.settings import AUDIT_OFF, AuditSettings
from collectionstore_node.settings import Settings
from collectionstore_operator.errors import InvalidResource
from collectionstore_operator.manifests.node_environment import MemberPlacement, node_settings, revision
from collectionstore_operator.resource import auditing
from collectionstore_operator.resource.desired import Desired, parse

PLACED = MemberPlacement(
    name="demo-0",
    cluster_id="demo",
    data_dir="/var/lib/collectionstore/data",
    tls_dir="/tls",
    client_address="127.0.0.1:7400",
    peer_address="127.0.0.1:7401",
    metrics_address="127.0.0.1:7402",
    client_advertise="https://127.0.0.1:7400",
    peer_advertise="127.0.0.1:7401",
)


def desired(audit: dict[str, Any] | None) -> Desired:
    """Return a resource with an audit log."""
    spec: dict[str, Any] = {} if audit is None else {"audit": audit}
    return parse(
        {
            "apiVersion": "collectionstore.io/v1alpha1",
            "kind": "CollectionStoreCluster",
            "metadata": {"name": "demo", "namespace": "default", "generation": 1, "uid": "1"},
            "spec": spec,
        }
    )


def understood(audit: dict[str, Any] | None) -> AuditSettings:
    """Return the settings that a node reads."""
    return Settings.from_environment(node_settings(desired(audit), PLACED)).audit


def test_without_the_field_nothing_is_set() -> None:
    assert understood(None) == AUDIT_OFF
    assert not any("AUDIT" in name for name in node_settings(desired(None), PLACED))
    assert revision(desired(None)) != revision(desired({"files": {}}))


def test_files_are_beside_the_data() -> None:
    found = understood({"files": {"megabytes": 2, "count": 3, "sync": "Always"}})
    assert found.directory == Path("/var/lib/collectionstore/audit")
    assert (found.file_bytes_max, found.files_max, found.sync) == (2 << 20, 3, "Always")
    assert (found.reads, found.blocking, found.rules) == (0.01, "Never", ())


def test_a_webhook_and_rules_are_as_given() -> None:
    rule = {"users": ["svc-*"], "verbs": ["read"], "resources": ["a"], "perMille": 125, "content": True}
    found = understood(
        {
            "webhook": {"url": "https://audit/x?y=1", "tokenFile": "/t", "caFile": "/c"},
            "otlp": True,
            "blocking": "WhenFull",
            "readsPerMille": 1000,
            "rules": [rule, {}],
        }
    )
    assert (found.webhook, found.otlp, found.blocking, found.reads) == ("https://audit/x?y=1", True, "WhenFull", 1.0)
    assert (found.webhook_token_file, found.webhook_ca) == (Path("/t"), Path("/c"))
    assert found.directory is None
    first, second = found.rules
    assert (first.users, first.verbs, first.resources, first.take, first.content) == (
        ("svc-*",),
        (Verb.READ,),
        ("a",),
        0.125,
        True,
    )
    assert (second.users, second.take, second.content) == ((), 1.0, False)


@pytest.mark.parametrize("per_mille", [0, 1, 10, 999, 1000])
def test_every_share_of_the_reads_is_read(per_mille: int) -> None:
    assert understood({"otlp": True, "readsPerMille": per_mille}).reads == per_mille / 1000


def test_verbs_and_bounds_are_those_of_the_node() -> None:
    assert set(get_args(auditing.Verb)) == {verb.value for verb in Verb}
    assert auditing.RULES_MAX == RULES_MAX


@pytest.mark.parametrize(
    "audit",
    [
        {"files": {"count": 1}},
        {"webhook": {}},
        {"webhook": {"url": "ftp://x"}},
        {"webhook": {"url": "https://ada:secret@x"}},
        {"readsPerMille": 1001},
        {"rules": [{"verbs": ["rite"]}]},
        {"rules": [{"users": [""]}]},
        {"blocking": "Always"},
        {"sinks": []},
    ],
)
def test_what_a_node_would_refuse_is_refused_with_the_resource(audit: dict[str, Any]) -> None:
    with pytest.raises(InvalidResource):
        desired(audit)
