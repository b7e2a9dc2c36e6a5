"""Removes secrets from the content of a report. Pure.

By name: JSON members whose name is that of a secret, and the value of every environment variable that is not
`COLLECTIONSTORE_*`, because users put anything there. By shape, in every text: private keys, bearer tokens, JSON Web
Tokens, passwords in URLs and in `name=value`. By content: texts that are known to be secret, such as local key files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any, Final

MARK: Final = "(redacted)"
KNOWN_LENGTH_MIN: Final = 12
"""Shorter texts are not searched for: they occur inside ordinary words."""

_SECRET_NAMES: Final = (
    "password",
    "passwd",
    "passphrase",
    "token",
    "secret",
    "credential",
    "credentials",
    "privatekey",
    "apikey",
    "accesskey",
    "secretkey",
    "authorization",
    "cookie",
    "pullsecretdata",
    ".key",
)
"""Suffixes of names, in lower case without `-` and `_`. `secretName` is a reference and stays."""
_OMITTED: Final = ("managedFields",)
_LAST_APPLIED: Final = "kubectl.kubernetes.io/last-applied-configuration"
"""Repeats the whole object as text, which would hide its members from the redaction by name."""
_OWN_VARIABLE_PREFIX: Final = "COLLECTIONSTORE_"

_SHAPES: Final = (
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"(?<=earer )[A-Za-z0-9._~+/=-]{8,}"),
    re.compile(r"(?<=asic )[A-Za-z0-9+/=]{8,}"),
    re.compile(r"\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*)?"),
    re.compile(r"(?<=://)[^\s/:@\"']+:[^\s/@\"']+(?=@)"),
    re.compile(
        r"(?i)\b(?:[a-z0-9_.-]*(?:password|passwd|passphrase|secret|token|api[_-]?key|access[_-]?key))"
        r"[\"']?\s*[=:]\s*[\"']?(?P<value>[^\s\"',;&}\\]{3,})"
    ),
)


class Redactor:
    """Removes secrets and counts them. `known` are texts that must not appear in the report, wherever they are."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        contents = sorted({one for one in known if len(one) >= KNOWN_LENGTH_MIN}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, contents))) if contents else None
        self.count = 0

    def text(self, text: str) -> str:
        """Return a text without what has the shape of a secret, or is known to be one."""
        for shape in _SHAPES:
            text = shape.sub(self._replace, text)
        return self._known.sub(self._replace, text) if self._known is not None else text

    def value(self, value: Any) -> Any:
        """Return JSON without secrets, at any depth."""
        match value:
            case dict():
                return self._object(value)
            case list():
                return [self.value(one) for one in value]
            case str():
                return self.text(value)
        return value

    def json(self, content: bytes) -> bytes:
        """Return a JSON text without secrets, indented; content that is not JSON is redacted as text."""
        try:
            parsed = json.loads(content)
        except ValueError:
            return self.text(content.decode(errors="replace")).encode()
        return json.dumps(self.value(parsed), indent=2, ensure_ascii=False).encode() + b"\n"

    def lines(self, content: bytes) -> bytes:
        """Return a log without secrets: lines of JSON by name and shape, others by shape alone."""
        kept: list[str] = []
        other: list[str] = []
        for line in content.decode(errors="replace").splitlines():
            parsed = _object_in(line)
            if parsed is None:
                other.append(line)
                continue
            kept += self._texts(other)
            other = []
            kept.append(json.dumps(self.value(parsed), ensure_ascii=False))
        kept += self._texts(other)
        return "".join(f"{line}\n" for line in kept).encode()

    def _texts(self, lines: list[str]) -> list[str]:
        # Joined first: a private key spans many lines, and its shape begins and ends with a marker line.
        return self.text("\n".join(lines)).split("\n") if lines else []

    def _object(self, value: dict[str, Any]) -> dict[str, Any]:
        if value.get("kind") == "Secret":
            value = {**value, **{part: MARK for part in ("data", "stringData") if self._count_member(value, part)}}
        elif _is_variable(value):
            self.count += 1
            return {**value, "value": MARK}
        return {self.text(name): self._member(name, one) for name, one in value.items() if name not in _OMITTED}

    def _member(self, name: str, value: Any) -> Any:
        if name == _LAST_APPLIED or (isinstance(value, str) and value and is_secret_name(name)):
            self.count += 1
            return MARK
        return self.value(value)

    def _count_member(self, value: dict[str, Any], part: str) -> bool:
        self.count += part in value
        return part in value

    def _replace(self, found: re.Match[str]) -> str:
        self.count += 1
        if "value" not in found.groupdict():
            return MARK
        start = found.start("value") - found.start()
        return found[0][:start] + MARK


def is_secret_name(name: str) -> bool:
    """Return whether this is the name of a secret value."""
    plain = name.lower().replace("-", "").replace("_", "")
    return plain.endswith(_SECRET_NAMES)


def _is_variable(value: dict[str, Any]) -> bool:
    """Return whether this is an environment variable set by a user, in the form of pods and of our resource."""
    if set(value) != {"name", "value"} or not isinstance(value["value"], str) or not value["value"]:
        return False
    return not str(value["name"]).startswith(_OWN_VARIABLE_PREFIX) or is_secret_name(str(value["name"]))


def _object_in(line: str) -> dict[str, Any] | None:
    if not line.startswith("{"):
        return None
    try:
        parsed = json.loads(line)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict) else None
