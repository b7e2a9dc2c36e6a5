"""The Authorization header, with everything that clients and attackers put into it."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectionstore_node.authn.headers import Basic, Bearer, checked_password, parse_authorization
from collectionstore_node.authn.refusals import Reason, Refused


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_bearer_token(scheme: str) -> None:
    assert parse_authorization(f"{scheme} abc.DEF-_~+/==") == Bearer("abc.DEF-_~+/==")
    assert parse_authorization(f"{scheme}   abc ") == Bearer("abc")


def test_a_user_and_a_password() -> None:
    assert parse_authorization(basic("ada:secret")) == Basic("ada", "secret")
    assert parse_authorization(basic("ada:se:cr:et")) == Basic("ada", "se:cr:et"), "a password may have colons"
    assert parse_authorization(basic("ädä:pässwörd")) == Basic("ädä", "pässwörd")


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Bearer a b",
        "Bearer ä",
        "Bearer a\tb",
        "Bearer a,b",
        "Basic",
        "Basic !",
        "Basic YWRh",
        basic(":secret"),
        basic("ada:"),
        basic("a\nb:c"),
        basic("a" * 129 + ":c"),
        basic("a:" + "c" * 1_025),
        "Basic " + base64.b64encode(b"\xff:\xff").decode(),
        "Digest username=ada",
        "Negotiate abc",
        "cst_0123456789abcdef_x",
        "Bearer " + "a" * 8_190,
        "\udcff",
    ],
)
def test_what_is_none_is_refused(header: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_authorization(header)
    assert caught.value.reason is Reason.MALFORMED


def test_half_a_character_is_no_password() -> None:
    with pytest.raises(Refused):
        checked_password("ada", "\ud800")


@given(st.text())
def test_any_text_is_a_credential_or_refused(text: str) -> None:
    for header in (text, f"Basic {text}", f"Bearer {text}"):
        try:
            found = parse_authorization(header)
        except Refused:
            continue
        assert isinstance(found, Bearer | Basic)
