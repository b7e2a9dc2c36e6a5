"""Connection strings and where options are found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from collectionstore.errors import ConfigurationError
from collectionstore.settings.credentials import Credentials, basic, bearer
from collectionstore.settings.options import Options, Tls
from collectionstore.settings.sources import from_environment, from_local, from_secret
from collectionstore.settings.urls import parse_url

SECRET = "hunter2-s3cret"


def test_hosts_ports_and_parameters() -> None:
    made = parse_url(
        "collectionstore://a.example:7401,b.example,[::1]:9/?timeout=500ms&consistency=stale&connections=3"
    )
    assert made.seeds == ("https://a.example:7401", "https://b.example:7400", "https://[::1]:9")
    assert (made.timeout_s, made.consistency, made.connections) == (0.5, "stale", 3)
    assert made.tls == Tls()


@pytest.mark.parametrize(
    ("url", "seeds"),
    [
        ("collectionstore://localhost", ("http://localhost:7400",)),
        ("collectionstore://127.0.0.1:1,127.0.0.1:2/", ("http://127.0.0.1:1", "http://127.0.0.1:2")),
        ("collectionstore://127.0.0.1,far.example", ("https://127.0.0.1:7400", "https://far.example:7400")),
        ("collectionstore://far.example?tls=false", ("http://far.example:7400",)),
        ("collectionstore://localhost?tls=true", ("https://localhost:7400",)),
        ("http://127.0.0.1:7400", ("http://127.0.0.1:7400",)),
        ("https://far.example", ("https://far.example:7400",)),
    ],
)
def test_tls_is_the_default_but_on_this_machine(url: str, seeds: tuple[str, ...]) -> None:
    assert parse_url(url).seeds == seeds


def test_users_and_passwords_are_decoded_and_never_shown() -> None:
    made = parse_url(f"collectionstore://ada:{SECRET}%2F%40@far.example")
    assert (made.credentials.user, made.credentials.password) == ("ada", f"{SECRET}/@")
    assert SECRET not in repr(made)


@pytest.mark.parametrize(
    "url",
    [
        f"mongodb://ada:{SECRET}@host",
        f"ada:{SECRET}@host",
        f"collectionstore://ada:{SECRET}@",
        f"collectionstore://ada:{SECRET}@host/database",
        f"collectionstore://ada:{SECRET}@ho st",
        f"collectionstore://ada:{SECRET}@host:0",
        f"collectionstore://ada:{SECRET}@host:99999",
        f"collectionstore://ada:{SECRET}@[::1",
        f"collectionstore://ada:{SECRET}@host?unknown=1",
        f"collectionstore://ada:{SECRET}@host?timeout=soon",
        f"collectionstore://ada:{SECRET}@host?timeout=0s",
        f"collectionstore://ada:{SECRET}@host?timeout=1s&timeout=2s",
        f"collectionstore://ada:{SECRET}@host?tls=yes",
        f"collectionstore://ada:{SECRET}@host?consistency=eventual",
        f"collectionstore://ada:{SECRET}@host?max_staleness=1s",
        f"collectionstore://ada:{SECRET}@host?connections=many",
        f"collectionstore://ada:{SECRET}@host?connections=65",
        f"collectionstore://ada:{SECRET}@host?tls_key=x",
        f"collectionstore://ada:{SECRET}@host?token=t",
        f"collectionstore://ada:{SECRET}@host?tls=false",
        f"https://ada:{SECRET}@host?tls=true",
        "",
        "collectionstore://",
        "collectionstore://,",
    ],
)
def test_wrong_strings_are_refused_without_their_secrets(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_url(url)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("wrong", [None, 5, b"http://host"])
def test_what_is_no_text_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigurationError):
        parse_url(wrong)


@pytest.mark.parametrize(
    "options",
    [
        {"unknown": 1},
        {"timeout": True},
        {"timeout": -1},
        {"timeout": "1y"},
        {"connections": 0},
        {"stream": "yes"},
        {"token": "a", "user": "b"},
        {"password": "x"},
        {"user": "a:b"},
        {"token": "a\nb"},
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        parse_url("http://127.0.0.1", **options)


def test_options_come_before_the_string() -> None:
    made = parse_url("http://127.0.0.1:1?timeout=1s", timeout="3s", token="t")
    assert made.timeout_s == 3.0
    assert made.credentials == Credentials(token="t")


def test_headers() -> None:
    assert bearer(" abc\n") == "Bearer abc"
    assert basic("ä", "b:c") == "Basic w6Q6Yjpj"
    for wrong in ("", "a b", "ä", "a\r\nb"):
        with pytest.raises(ConfigurationError):
            bearer(wrong)


def test_the_environment(tmp_path: Path) -> None:
    assert from_environment({"COLLECTIONSTORE_URL": "http://127.0.0.1:9"}).seeds == ("http://127.0.0.1:9",)
    nothing = {"COLLECTIONSTORE_STATE_DIR": str(tmp_path / "none")}
    assert from_environment(nothing) == Options()


def test_a_mounted_secret(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="uri"):
        from_secret(tmp_path)
    (tmp_path / "uri").write_text("collectionstore://demo.shop.svc:7400\n")
    (tmp_path / "ca.crt").write_text("x")
    (tmp_path / "username").write_text("ada")
    (tmp_path / "password").write_text(SECRET)
    made = from_secret(tmp_path)
    assert made.seeds == ("https://demo.shop.svc:7400",)
    assert made.tls == Tls(authority=tmp_path / "ca.crt")
    assert made.credentials == Credentials(user="ada", password=SECRET)
    (tmp_path / "token").write_text("abc")
    assert from_environment({"COLLECTIONSTORE_SECRET": str(tmp_path)}).credentials.token_file == tmp_path / "token"
    (tmp_path / "uri").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match="UTF-8"):
        from_secret(tmp_path)


def test_a_local_cluster(tmp_path: Path) -> None:
    for name, port in (("demo-0", 7400), ("demo-1", 7410)):
        folder = tmp_path / "demo" / "nodes" / name
        folder.mkdir(parents=True)
        settings = {"COLLECTIONSTORE_CLIENT_ADVERTISE": f"http://127.0.0.1:{port}"}
        (folder / "process.json").write_text(json.dumps({"launch": {"settings": settings}}))
    assert from_local(state_dir=tmp_path).seeds == ("http://127.0.0.1:7400", "http://127.0.0.1:7410")
    (tmp_path / "demo" / "admin.token").write_text("abc")
    assert from_local("demo", state_dir=tmp_path).credentials.token_file == tmp_path / "demo" / "admin.token"
    with pytest.raises(ConfigurationError, match="demo"):
        from_local("other", state_dir=tmp_path)
    (tmp_path / "two" / "nodes").mkdir(parents=True)
    with pytest.raises(ConfigurationError, match="demo, two"):
        from_local(state_dir=tmp_path)
    with pytest.raises(ConfigurationError, match="csctl local up"):
        from_local("two", state_dir=tmp_path)


def test_files_of_tls_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="TLS"):
        Tls(authority=tmp_path / "none").context()
