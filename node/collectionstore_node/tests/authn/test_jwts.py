"""Attacks on tokens of others, with real keys: what the issuer has not signed, for us and for now, is refused."""

from __future__ import annotations

import base64
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectionstore_node.authn import jwts
from collectionstore_node.authn.keysets import KEYS_MAX, NO_KEYS, InvalidKeySet, parse_key_set
from collectionstore_node.authn.refusals import Reason, Refused
from collectionstore_node.tests.authn.issuers import (
    AUDIENCE,
    DEMANDS,
    EC,
    ED,
    NOW,
    OTHER,
    RSA,
    URL,
    claims,
    key_set,
    token,
    unsigned,
)

KEYS = parse_key_set(key_set())


def verify(text: str, *, now: float = NOW, demands: jwts.Demands = DEMANDS) -> jwts.Verified:
    return jwts.verify(jwts.read(text), KEYS, demands, now)


def refused(text: str, **more: Any) -> Reason:
    with pytest.raises(Refused) as caught:
        verify(text, **more)
    return caught.value.reason


@pytest.mark.parametrize(("key", "algorithm"), [(RSA, "RS256"), (EC, "ES256"), (ED, "EdDSA")])
def test_a_token_of_the_issuer_is_accepted(key: Any, algorithm: str) -> None:
    found = verify(token(claims(jti="t-1"), key, algorithm))
    assert found.claims["sub"] == "ada"
    assert found.credential == "t-1"
    assert found.expires_s == NOW + 600
    assert found.thumbprint == key.thumbprint()


@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE"])
@pytest.mark.parametrize("signature", ["", "AA"])
def test_a_token_without_a_signature_is_refused(name: str, signature: str) -> None:
    assert refused(unsigned({"alg": name, "kid": "rsa"}, claims(), signature)) is Reason.SIGNATURE


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_a_public_key_is_no_shared_secret(algorithm: str) -> None:
    """Key confusion: the attacker knows the public key, and uses it as the secret of an HMAC."""
    for secret in (RSA.as_pem(private=False), RSA.as_der(private=False), key_set(RSA), b""):
        text = unsigned({"alg": algorithm, "kid": "rsa"}, claims()).removesuffix(".")
        mac = hmac.digest(secret, text.encode(), f"sha{algorithm[2:]}")
        confused = f"{text}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
        assert refused(confused) is Reason.SIGNATURE
        demands = DEMANDS._replace(algorithms=(*DEMANDS.algorithms, algorithm))
        assert refused(confused, demands=demands) is Reason.SIGNATURE, (
            "no key of the set is for it, even if it were allowed"
        )


def test_a_key_is_used_with_its_own_algorithms_only() -> None:
    assert refused(unsigned({"alg": "ES256", "kid": "rsa"}, claims(), "AA")) is Reason.SIGNATURE
    assert refused(token(algorithm="RS512")) is Reason.SIGNATURE, "it is not among those that are allowed"
    only = parse_key_set(key_set(RSA, alg="RS512"))
    assert only.find("rsa", "RS256") is None
    assert only.find("rsa", "RS512") is not None


@pytest.mark.parametrize(
    "key_id",
    ["../../etc/passwd", "' OR 1=1 --", "http://evil.example/keys", "rsa\0", "RSA", "", "/dev/null", "rsa;ec"],
)
def test_a_key_id_is_compared_and_nothing_else(key_id: str) -> None:
    assert refused(token(kid=key_id)) is Reason.SIGNATURE


def test_a_huge_key_id_is_refused_before_it_is_looked_up() -> None:
    assert refused(unsigned({"alg": "RS256", "kid": "k" * 300}, claims(), "AA")) is Reason.MALFORMED


def test_a_key_of_somebody_else_under_the_same_id_is_refused() -> None:
    assert refused(token(key=OTHER)) is Reason.SIGNATURE


def test_keys_that_a_token_brings_are_not_used() -> None:
    own = OTHER.as_dict(private=False)
    for header in (
        {"jwk": own},
        {"jku": "https://evil.example/jwks"},
        {"x5u": "https://evil.example"},
        {"x5c": ["AA"]},
    ):
        assert refused(token(key=OTHER, **header)) is Reason.SIGNATURE


def test_extensions_that_must_be_understood_are_refused() -> None:
    assert refused(token(crit=["b64"], b64=False)) is Reason.MALFORMED
    assert refused(token(crit=["exp"], exp=1)) is Reason.MALFORMED


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (claims(aud="other"), Reason.AUDIENCE),
        (claims(aud=None), Reason.AUDIENCE),
        (claims(aud=[]), Reason.AUDIENCE),
        (claims(aud=["other", 5]), Reason.AUDIENCE),
        (claims(aud={"collectionstore": 1}), Reason.AUDIENCE),
        (claims(iss="https://issuer.example/"), Reason.MALFORMED),
        (claims(iss=None), Reason.MALFORMED),
        (claims(exp=NOW - 31), Reason.EXPIRED),
        (claims(exp=None), Reason.MALFORMED),
        (claims(exp="2099"), Reason.MALFORMED),
        (claims(exp=True), Reason.MALFORMED),
        (claims(exp=float("nan")), Reason.MALFORMED),
        (claims(exp=float("inf")), Reason.MALFORMED),
        (claims(exp=10**400), Reason.MALFORMED),
        (claims(nbf=NOW + 31), Reason.NOT_YET),
        (claims(iat=NOW + 31), Reason.NOT_YET),
        (claims(nbf="now"), Reason.MALFORMED),
        (claims(sub=7), Reason.MALFORMED),
    ],
)
def test_claims_that_are_not_for_us_and_now_are_refused(given: dict[str, Any], reason: Reason) -> None:
    assert refused(token(given)) is reason


def test_the_leeway_counts_on_both_sides() -> None:
    assert verify(token(claims(exp=NOW - 29))).expires_s == NOW - 29
    assert verify(token(claims(nbf=NOW + 30))).claims["nbf"] == NOW + 30
    strict = DEMANDS._replace(leeway_s=0)
    assert refused(token(claims(exp=NOW)), demands=strict) is Reason.EXPIRED


def test_one_of_several_audiences_is_enough() -> None:
    assert verify(token(claims(aud=["other", AUDIENCE]))).claims["aud"] == ["other", AUDIENCE]


def test_changed_claims_or_headers_do_not_fit_their_signature() -> None:
    header, payload, signature = token().split(".")
    forged = unsigned({}, claims(sub="root")).split(".")[1]
    assert refused(f"{header}.{forged}.{signature}") is Reason.SIGNATURE
    other = unsigned({"alg": "RS256", "kid": "rsa", "typ": "x"}, {}).split(".")[0]
    assert refused(f"{other}.{payload}.{signature}") is Reason.SIGNATURE
    assert refused(f"{header}.{payload}.{signature[:-2]}") is Reason.SIGNATURE


@pytest.mark.parametrize(
    "text",
    [
        "eyJ.e.e",
        "eyJhbGciOiJSUzI1NiJ9..",
        unsigned(["alg"], claims()),  # type: ignore[arg-type]
        unsigned({"alg": 5}, claims()),
        unsigned({"alg": ["RS256"]}, claims()),
        unsigned({"alg": "RS256", "kid": 5}, claims()),
        unsigned({"kid": "rsa"}, claims()),
        unsigned({"alg": "RS256"}, ["iss"]),
        unsigned({"alg": "RS256"}, {f"c{at}": at for at in range(200)}),
        "eyJ" + "A" * 9_000 + ".AA.AA",
        unsigned({"alg": "RS256", "pad": "p" * 4_000}, claims(), "AA"),
        unsigned({"alg": "RS256"}, claims(), "A" * 2_000),
        "éyJ.a.b",
    ],
)
def test_what_is_no_token_of_reasonable_size_is_refused(text: str) -> None:
    assert refused(text) is Reason.MALFORMED


def test_deep_json_is_refused() -> None:
    deep = "[" * 5_000
    text = base64.urlsafe_b64encode(deep.encode()).rstrip(b"=").decode()
    assert refused(f"{unsigned({'alg': 'RS256'}, {}).split('.')[0]}.{text}.AA") is Reason.MALFORMED


@given(st.text(max_size=200) | st.from_regex(r"eyJ[A-Za-z0-9_-]{0,80}\.[A-Za-z0-9_-]{0,80}\.[A-Za-z0-9_-]{0,80}"))
def test_any_text_is_verified_or_refused(text: str) -> None:
    with pytest.raises(Refused):
        verify(text)


def test_without_an_id_the_only_key_for_the_algorithm_counts() -> None:
    assert verify(token(kid=None)).thumbprint == RSA.thumbprint()
    two = parse_key_set(
        json.dumps({"keys": [RSA.as_dict(private=False), OTHER.as_dict(private=False) | {"kid": "b"}]}).encode()
    )
    assert two.find(None, "RS256") is None
    assert NO_KEYS.find("rsa", "RS256") is None


def test_symmetric_small_and_foreign_keys_are_left_out() -> None:
    small = {"kty": "RSA", "n": "AQAB" * 20, "e": "AQAB", "kid": "small"}
    others = [
        {"kty": "oct", "k": "c2VjcmV0", "kid": "secret"},
        {
            "kty": "RSA",
            "use": "enc",
            **{k: v for k, v in RSA.as_dict(private=False).items() if k in "ne"},
            "kid": "enc",
        },
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "bad"},
        {"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA", "kid": "new"},
        small,
        "text",
    ]
    found = parse_key_set(json.dumps({"keys": [*others, EC.as_dict(private=False)]}).encode())
    assert set(found.by_id) == {"ec"}
    with pytest.raises(InvalidKeySet):
        parse_key_set(json.dumps({"keys": others}).encode())


def test_a_private_key_in_a_set_is_taken_as_a_public_one() -> None:
    found = parse_key_set(json.dumps({"keys": [RSA.as_dict(private=True)]}).encode())
    assert not found.by_id["rsa"].key.is_private


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys": {}}',
        b'{"keys": []}',
        b"\xff",
        b"[" * 100_000,
        b" " * 300_000,
        json.dumps({"keys": [{}] * (KEYS_MAX + 1)}).encode(),
        json.dumps({"keys": [RSA.as_dict(private=False), OTHER.as_dict(private=False)]}).encode(),
    ],
)
def test_what_is_no_key_set_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidKeySet):
        parse_key_set(text)


def test_the_issuer_is_what_the_token_says_before_it_is_verified() -> None:
    assert jwts.read(token()).issuer == URL
    assert jwts.read(unsigned({"alg": "RS256"}, {"iss": 5})).issuer == ""
    assert jwts.looks_like_jwt(token())
    assert not jwts.looks_like_jwt("cst_0123456789abcdef_x")
