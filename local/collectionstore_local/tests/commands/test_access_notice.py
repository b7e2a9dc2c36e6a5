"""`csctl local up` says who may use the cluster."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from collectionstore_local.commands import access_notice
from collectionstore_local.state.directory import ClusterDirectory


@pytest.mark.parametrize(
    ("access", "said", "curl"),
    [
        (None, "Access: disabled: every program", ""),
        ({"mode": "Permissive"}, "Access: permissive: every program", ""),
        ({}, "Access: enforced; nothing without a credential", "Authorization: Bearer"),
        (
            {"unsafe": {"anonymous": ["read"]}},
            "Access: enforced; without a credential: read (unsafe)",
            "Authorization: Bearer",
        ),
    ],
)
def test_the_notice_says_who_may_use_the_cluster(
    tmp_path: Path, access: dict[str, object] | None, said: str, curl: str
) -> None:
    directory = ClusterDirectory(tmp_path)
    spec = {"tls": {"client": "Disabled"}} | ({} if access is None else {"access": access})
    directory.resource.write_text(json.dumps({"spec": spec}))
    notice = access_notice.text(directory)
    assert notice.startswith(said)
    assert ("access: {mode: Enforced}" in notice) == (not curl)
    option = access_notice.curl_option(directory)
    assert curl in option if curl else not option


def test_with_tls_the_certificate_of_the_owner_is_named(tmp_path: Path) -> None:
    directory = ClusterDirectory(tmp_path)
    directory.resource.write_text(json.dumps({"spec": {"access": {}}}))
    assert f"certificate: {directory.credentials / 'tls.crt'}" in access_notice.text(directory)
    assert access_notice.curl_option(directory).startswith(" --cert ")


def test_a_directory_without_a_resource_counts_as_open(tmp_path: Path) -> None:
    assert access_notice.text(ClusterDirectory(tmp_path)).startswith("Access: disabled")
