"""Connection strings: `collectionstore://user:password@host:7400,host/?tls=true&timeout=5s`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from collectionstore.errors import ConfigurationError
from collectionstore.settings.credentials import Credentials
from collectionstore.settings.durations import seconds_of
from collectionstore.settings.options import PORT, TIMEOUT_MAX_S, Options, Tls, is_loopback

SCHEME: Final = "collectionstore"
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")

PARAMETERS: Final[Mapping[str, str]] = {
    "tls": "true or false; true unless all hosts are loopback addresses",
    "tls_ca": "file with the certificates to trust",
    "tls_cert": "file with the certificate of this client",
    "tls_key": "file with its key",
    "tls_verify": "true or false; false trusts everyone, for trials only",
    "token": "a bearer token; better in a file",
    "token_file": "file with a bearer token, read again when it is refused",
    "timeout": "for a call with all of its attempts, such as 5s",
    "attempt_timeout": "for one attempt",
    "connect_timeout": "for a connection",
    "consistency": "linearizable or stale",
    "max_staleness": "of stale reads, such as 500ms",
    "discovery": "auto or off",
    "stream": "auto or off",
    "retries": "auto or off",
    "connections": "streams to each member, 1 to 64",
}
"""The parameters of a connection string, and what each may be."""


def parse_url(url: str, **overrides: Any) -> Options:
    """Return the options of a connection string; `overrides` come before what it says.

    Also takes a plain `http://` or `https://` URL, or several with commas. Raises ConfigurationError, whose text never
    has the string itself, since there may be a password in it.
    """
    if not isinstance(url, str):
        raise ConfigurationError(f"a connection string is a text, not a {type(url).__name__}")
    scheme, found, rest = url.partition("://")
    if not found or scheme not in (SCHEME, "http", "https"):
        raise ConfigurationError(f"a connection string begins with {SCHEME}://, http:// or https://")
    try:
        parts = urlsplit(f"{SCHEME}://{rest}")
    except ValueError:
        raise ConfigurationError("the hosts of the connection string cannot be read") from None
    if parts.path not in ("", "/") or parts.fragment:
        raise ConfigurationError("behind the hosts of a connection string there is nothing but ?parameters")
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    named = _parameters(parts.query)
    authorities = [_authority(host) for host in hosts.split(",")]
    secure = _secure(scheme, named, authorities)
    options: dict[str, Any] = {
        "seeds": tuple(f"{'https' if secure else 'http'}://{one}" for one in authorities),
        "tls": _tls(named) if secure else None,
        "credentials": Credentials(
            token=named.get("token", ""),
            token_file=Path(named["token_file"]) if "token_file" in named else None,
            user=unquote(user),
            password=unquote(password),
        ),
    }
    for name in ("consistency", "discovery", "stream", "retries"):
        if name in named:
            options[name] = named[name]
    for name in ("timeout", "attempt_timeout", "connect_timeout", "max_staleness"):
        if name in named:
            options[f"{name}_s"] = seconds_of(name, named[name], 0.001, TIMEOUT_MAX_S)
    if "connections" in named:
        if not named["connections"].isdecimal():
            raise ConfigurationError("connections must be a whole number")
        options["connections"] = int(named["connections"])
    return with_overrides(Options(**options), overrides)


def with_overrides(options: Options, overrides: Mapping[str, Any]) -> Options:
    """Return options with some of them replaced, by the names of `Options`; durations also without `_s`.

    Raises ConfigurationError for one that there is not.
    """
    given: dict[str, Any] = {}
    for name, value in overrides.items():
        if f"{name}_s" in Options.__dataclass_fields__:
            given[f"{name}_s"] = None if value is None else seconds_of(name, value, 0.001, TIMEOUT_MAX_S)
        elif name in ("token", "token_file", "user", "password", "get_token"):
            given.setdefault("credentials", {})[name] = Path(value) if name == "token_file" else value
        elif name in Options.__dataclass_fields__:
            given[name] = value
        else:
            known = sorted(one.removesuffix("_s") for one in Options.__dataclass_fields__)
            raise ConfigurationError(f"there is no option {name}; there are {', '.join(known)}")
    if isinstance(given.get("credentials"), dict):
        given["credentials"] = Credentials(**given["credentials"])
    return replace(options, **given) if given else options


def _parameters(query: str) -> dict[str, str]:
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query), max_num_fields=64)
    except ValueError:
        raise ConfigurationError("the parameters of the connection string cannot be read") from None
    named: dict[str, str] = {}
    for name, value in pairs:
        if name not in PARAMETERS:
            raise ConfigurationError(f"a connection string has no parameter {name!r}; it has {', '.join(PARAMETERS)}")
        if name in named or not value:
            raise ConfigurationError(f"{name} must be there once, with a value: {PARAMETERS[name]}")
        named[name] = value
    return named


def _authority(host: str) -> str:
    match = _HOST.fullmatch(host)
    if match is None or (match[2] and not 0 < int(match[2]) <= 65_535):
        raise ConfigurationError("hosts are host or host:port with commas, and IPv6 addresses in brackets")
    return f"{match[1]}:{match[2] or PORT}"


def _secure(scheme: str, named: Mapping[str, str], authorities: list[str]) -> bool:
    if scheme != SCHEME:
        if "tls" in named:
            raise ConfigurationError(f"tls goes with {SCHEME}://; {scheme}:// says it already")
        return scheme == "https"
    if "tls" not in named:
        return not all(is_loopback(one) for one in authorities)
    return _switch("tls", named)


def _switch(name: str, named: Mapping[str, str]) -> bool:
    if named[name] not in ("true", "false"):
        raise ConfigurationError(f"{name} must be true or false")
    return named[name] == "true"


def _tls(named: Mapping[str, str]) -> Tls:
    if "tls_key" in named and "tls_cert" not in named:
        raise ConfigurationError("tls_key needs tls_cert")
    files = {
        name: Path(named[parameter])
        for name, parameter in (("authority", "tls_ca"), ("certificate", "tls_cert"), ("key", "tls_key"))
        if parameter in named
    }
    return Tls(**files, verify=_switch("tls_verify", named) if "tls_verify" in named else True)
