"""Signatures of files by an ECDSA P-256 key, as `cosign sign-blob` makes and `cosign verify-blob` checks them.

A signature of a file is the base64 text of an ASN.1 DER ECDSA signature over its SHA-256. Attestations are DSSE
envelopes (Dead Simple Signing Envelope, v1), as `cosign attest-blob` writes them. The key is PKCS#8 PEM, encrypted with
a password unless it is empty; the public one is a SubjectPublicKeyInfo PEM, which is what cosign calls cosign.pub. A
private key for cosign itself: `cosign import-key-pair --key`.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from pathlib import Path
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

SUFFIX: Final = ".sig"
PAYLOAD_TYPE: Final = "application/vnd.in-toto+json"
PRIVATE_MODE: Final = 0o600


class NotSigned(Exception):
    """A file has no signature, another one, or a key cannot be used; the text says which and why."""


def make_keys(private: Path, public: Path, password: bytes) -> None:
    """Write a new key pair. Raises NotSigned if a file is there already: a key is never overwritten."""
    key = ec.generate_private_key(ec.SECP256R1())
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    shown = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    try:
        # Readable by its owner alone from the first byte on.
        with os.fdopen(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_MODE), "wb") as file:
            file.write(secret)
        with public.open("xb") as file:
            file.write(shown)
    except FileExistsError as error:
        raise NotSigned(f"{error.filename} exists already") from None


def load_private(path: Path, password: bytes) -> ec.EllipticCurvePrivateKey:
    """Return a private key. Raises NotSigned."""
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=password or None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise NotSigned(f"the key {path} cannot be read: {type(error).__name__}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise NotSigned(f"the key {path} is not ECDSA P-256")
    return key


def load_public(path: Path) -> ec.EllipticCurvePublicKey:
    """Return a public key. Raises NotSigned."""
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError, UnsupportedAlgorithm) as error:
        raise NotSigned(f"the key {path} cannot be read: {type(error).__name__}") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise NotSigned(f"the key {path} is not ECDSA P-256")
    return key


def sign_file(path: Path, key: ec.EllipticCurvePrivateKey) -> Path:
    """Write the signature of a file beside it, and return its path."""
    made = path.with_name(path.name + SUFFIX)
    made.write_bytes(base64.b64encode(key.sign(path.read_bytes(), ec.ECDSA(hashes.SHA256()))) + b"\n")
    return made


def verify_file(path: Path, key: ec.EllipticCurvePublicKey) -> None:
    """Check the signature beside a file. Raises NotSigned."""
    beside = path.with_name(path.name + SUFFIX)
    try:
        signature = base64.b64decode(beside.read_bytes().strip(), validate=True)
        key.verify(signature, path.read_bytes(), ec.ECDSA(hashes.SHA256()))
    except OSError as error:
        raise NotSigned(f"{error.filename} cannot be read") from None
    except (InvalidSignature, binascii.Error, ValueError):
        raise NotSigned(f"{beside} is not the signature of {path} by this key") from None


def envelope(statement: dict[str, Any], key: ec.EllipticCurvePrivateKey) -> bytes:
    """Return a statement in a signed DSSE envelope, JSON."""
    payload = json.dumps(statement, sort_keys=True, separators=(",", ":")).encode()
    signature = key.sign(_authenticated(payload), ec.ECDSA(hashes.SHA256()))
    made = {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"sig": base64.b64encode(signature).decode()}],
    }
    return json.dumps(made, indent=1).encode() + b"\n"


def opened(content: bytes, key: ec.EllipticCurvePublicKey) -> dict[str, Any]:
    """Return the statement in an envelope that one of its signatures proves. Raises NotSigned."""
    try:
        found = json.loads(content)
        payload = base64.b64decode(found["payload"], validate=True)
        signatures = [base64.b64decode(one["sig"], validate=True) for one in found["signatures"]]
        kind = found["payloadType"]
    except (ValueError, KeyError, TypeError, binascii.Error):
        raise NotSigned("it is no DSSE envelope") from None
    if kind != PAYLOAD_TYPE:
        raise NotSigned(f"the envelope holds {kind!r}, not {PAYLOAD_TYPE}")
    for signature in signatures:
        try:
            key.verify(signature, _authenticated(payload), ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            continue  # another one may be by this key
        statement: dict[str, Any] = json.loads(payload)
        return statement
    raise NotSigned("no signature of the envelope is by this key")


def _authenticated(payload: bytes) -> bytes:
    """Return what is signed: DSSE v1, "PAE"."""
    kind = PAYLOAD_TYPE.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)
