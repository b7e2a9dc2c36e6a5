"""Which options of a repository expose a credential: the parser and the API server refuse the same."""

from __future__ import annotations

import re

import pytest

from collectionstore_operator.crd.openapi import struct_schema
from collectionstore_operator.resource.repository import (
    SECRETS,
    SECRETS_CEL,
    USERS,
    USERS_CEL,
    Repository,
    exposed,
)


def options(**given: str) -> Repository:
    return Repository(url="s3://bucket", options=given)


@pytest.mark.parametrize(
    "name",
    [
        *("secret_access_key", "aws_session_token", "access_key", "accesskey", "account_key"),
        *("sas", "azure_storage_sas_token", "client_secret", "password", "bearer_token", "google_credentials"),
        *("service_account_key", "sse_customer_key_base64", "key"),
    ],
)
def test_credential_is_refused(name: str) -> None:
    assert exposed(options(**{name: "x"})) == SECRETS
    assert not _admits(name)


@pytest.mark.parametrize(
    "name",
    [
        *("endpoint", "region", "access_key_id", "aws_access_key_id", "credentials_file", "token_path", "sast"),
        *("container_credentials_relative_uri", "bucket_key_enabled", "allow_http", "keyring"),
    ],
)
def test_setting_is_allowed(name: str) -> None:
    assert exposed(options(**{name: "x"})) is None
    assert _admits(name)


@pytest.mark.parametrize("value", ["http://user:word@proxy", "https://user@host/x", "a://@"])
def test_user_in_a_url_is_refused(value: str) -> None:
    assert exposed(options(proxy_url=value)) == USERS


@pytest.mark.parametrize("value", ["https://minio:9000", "https://minio/a@b", "user@host", "a:/b@c"])
def test_other_value_is_allowed(value: str) -> None:
    assert exposed(options(endpoint=value)) is None


def test_rules_stand_in_the_schema() -> None:
    schema = struct_schema(Repository)
    assert SECRETS_CEL in [one["rule"] for one in schema["x-kubernetes-validations"]]
    (rule,) = schema["properties"]["options"]["additionalProperties"]["x-kubernetes-validations"]
    assert rule == {"rule": USERS_CEL, "message": str(USERS)}


def _admits(name: str) -> bool:
    """Evaluate the expressions of the CEL rule: `!key.matches(SECRET) || key.matches(ENDING)`."""
    secret, ending = re.findall(r"key\.matches\('([^']*)'\)", SECRETS_CEL)
    return not re.search(secret, name) or bool(re.search(ending, name))
