"""Secrets that are planted wherever people put them do not come out; what is needed to find a cause stays."""

from __future__ import annotations

import json

import pytest

from collectionstore.report.redaction import MARK, Redactor, is_secret_name

SECRET = "hunter2-correct-horse"
KEY_LINES = ["MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg7Tpp", "Zp1kQw8yXbq1hRANCAAQx"]
KEY = "\n".join(["-----BEGIN PRIVATE KEY-----", *KEY_LINES, "-----END PRIVATE KEY-----"])
JWT = "eyJhbGciOiJSUzI1NiIsImtpZCI6IngifQ.eyJpc3MiOiJrdWJlcm5ldGVzIn0.c2lnbmF0dXJlLWhlcmU"


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {SECRET}",
        f"authorization: basic {SECRET.replace('-', '')}",
        f"using token {JWT} of the pod",
        f"https://ada:{SECRET}@example.org/x",
        f"password={SECRET}",
        f'"db_password": "{SECRET}"',
        f"--api-key={SECRET} --verbose",
        f"AWS_SECRET_ACCESS_KEY: {SECRET}",
        f"before\n{KEY}\nafter",
        f"before\n{KEY[:80]}",
    ],
)
def test_a_secret_in_a_text_goes(text: str) -> None:
    redactor = Redactor()
    cut = redactor.text(text)
    assert MARK in cut
    assert redactor.count >= 1
    for secret in (SECRET, SECRET.replace("-", ""), JWT, *KEY_LINES, KEY_LINES[0][:40]):
        assert secret not in cut


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:7400/status",
        "demo-0 leads in term 4 (peer=demo-1, index=7)",
        'collectionstore_http_requests_total{route="/api/v1/kv/{bucket}/{key...}",code="200"} 4.0',
        "2026-11-21T13:40:25Z node.started node_id=5737d027e5c24ae5",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    redactor = Redactor()
    assert redactor.text(text) == text
    assert redactor.count == 0


def test_objects_lose_secrets_by_name_at_any_depth() -> None:
    pod = {
        "kind": "Pod",
        "metadata": {
            "name": "demo-0",
            "managedFields": [{"manager": "x"}],
            "annotations": {"kubectl.kubernetes.io/last-applied-configuration": f'{{"x": "{SECRET}"}}'},
        },
        "spec": {
            "containers": [
                {
                    "name": "node",
                    "env": [
                        {"name": "HTTP_PROXY", "value": f"http://{SECRET}"},
                        {"name": "COLLECTIONSTORE_NAME", "value": "demo-0"},
                        {"name": "COLLECTIONSTORE_OTLP_TOKEN", "value": SECRET},
                    ],
                }
            ],
            "volumes": [{"name": "tls", "secret": {"secretName": "demo-operator"}}],
            "automountServiceAccountToken": False,
        },
    }
    redactor = Redactor()
    text = redactor.json(json.dumps(pod).encode()).decode()
    assert SECRET not in text
    cut = json.loads(text)
    assert "managedFields" not in cut["metadata"]
    variables = {one["name"]: one["value"] for one in cut["spec"]["containers"][0]["env"]}
    expected = {"HTTP_PROXY": MARK, "COLLECTIONSTORE_NAME": "demo-0", "COLLECTIONSTORE_OTLP_TOKEN": MARK}
    assert variables == expected
    assert cut["spec"]["volumes"] == pod["spec"]["volumes"]  # type: ignore[index]
    assert redactor.count == 3


def test_data_of_a_secret_goes_and_its_name_stays() -> None:
    secret = {"kind": "Secret", "metadata": {"name": "demo-authority"}, "data": {"ca.key": "LS0tLS1CRUdJTg=="}}
    cut = Redactor().value(secret)
    assert cut == {"kind": "Secret", "metadata": {"name": "demo-authority"}, "data": MARK}


def test_logs_are_cut_by_line_and_keys_over_many_lines() -> None:
    lines = [
        json.dumps({"event": "round.failed", "detail": f"token={SECRET}", "password": SECRET, "level": "error"}),
        *KEY.split("\n"),
        "plain text",
        json.dumps({"event": "node.started", "pid": 4}),
        '{"cut": "off',
    ]
    cut = Redactor().lines("\n".join(lines).encode()).decode()
    assert not [secret for secret in (SECRET, *KEY_LINES) if secret in cut]
    first, *_, last, broken = cut.splitlines()
    assert json.loads(first)["event"] == "round.failed"
    assert json.loads(first)["password"] == MARK
    assert json.loads(last) == {"event": "node.started", "pid": 4}
    assert broken == '{"cut": "off'
    assert "plain text" in cut


def test_what_is_known_goes_wherever_it_is() -> None:
    """A line of a key without the lines around it has no shape."""
    redactor = Redactor(["short", *KEY_LINES])
    cut = redactor.json(json.dumps({"detail": f"cannot read {KEY_LINES[1]} here, short"}).encode()).decode()
    assert json.loads(cut) == {"detail": f"cannot read {MARK} here, short"}
    assert redactor.text(f"x{KEY_LINES[0]}x") == f"x{MARK}x"


@pytest.mark.parametrize("name", ["password", "DB_PASSWORD", "tls.key", "accessToken", "client-secret", "Set-Cookie"])
def test_names_of_secrets(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize("name", ["secretName", "keys", "tokens_used", "key", "key_bytes_max", "secrets", "name"])
def test_names_of_other_things(name: str) -> None:
    assert not is_secret_name(name)
