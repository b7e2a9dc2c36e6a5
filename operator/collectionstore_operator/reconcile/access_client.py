"""The operator's calls to the API of access control of a cluster: users, roles, tokens and the configuration.

Every answer is typed. What could not be read is `Unknown`, never "absent". A read asks one member after the other, and
a write goes to the one that answered last: any member takes it, and passes it on to the leader.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypeVar
from urllib.parse import quote

import msgspec

from collectionstore_operator.errors import ActionRefused, ActionUnfinished
from collectionstore_operator.model.access.configuration import canonical
from collectionstore_operator.model.access.store import (
    IssuedToken,
    StoreRole,
    StoreToken,
    StoreUser,
)
from collectionstore_operator.model.access_seen import AccessSeen
from collectionstore_operator.model.observed import ABSENT, Absent, Unknown
from collectionstore_operator.reconcile.node_client import Answer, NodeClient, Refused, refusal

PAGE: Final = 100
PAGES_MAX: Final = 20
"""Pages of tokens of one user that are read."""

_T = TypeVar("_T")


class AccessClient:
    """The access control of one cluster, through its members' base URLs."""

    def __init__(self, client: NodeClient, urls: Sequence[str]) -> None:
        """`urls` are tried in this order."""
        self._client = client
        self._urls = list(urls)

    async def access(self) -> AccessSeen | Unknown:
        """Return the configuration."""
        answer = await self._get("/api/v1/access")
        if isinstance(answer, Unknown):
            return answer
        if answer.code == 404:
            return AccessSeen(configured=False, supported=False)  # a version that has no such route
        if answer.code != 200:
            return Unknown(_told(answer, refusal(answer)))
        return _read_access(answer.body)

    async def configure(self, config: str) -> None:
        """Replace the configuration. Raises ActionRefused or ActionUnfinished."""
        await self._change("PUT", "/api/v1/access", config.encode())

    async def user(self, name: str) -> StoreUser | Absent | Unknown:
        """Return a user."""
        return await self._one(f"/api/v1/users/{quote(name, safe='')}", StoreUser, "user_not_found")

    async def put_user(self, name: str, body: dict[str, Any]) -> None:
        """Create or replace a user. Raises ActionRefused or ActionUnfinished."""
        await self._change("PUT", f"/api/v1/users/{quote(name, safe='')}", msgspec.json.encode(body))

    async def remove_user(self, name: str) -> None:
        """Delete a user, with its tokens; one that is gone is no error."""
        await self._change("DELETE", f"/api/v1/users/{quote(name, safe='')}", None, gone="user_not_found")

    async def role(self, name: str) -> StoreRole | Absent | Unknown:
        """Return a role."""
        return await self._one(f"/api/v1/roles/{quote(name, safe='')}", StoreRole, "role_not_found")

    async def put_role(self, name: str, body: dict[str, Any]) -> None:
        """Create or replace a role. Raises ActionRefused or ActionUnfinished."""
        await self._change("PUT", f"/api/v1/roles/{quote(name, safe='')}", msgspec.json.encode(body))

    async def remove_role(self, name: str) -> None:
        """Delete a role; one that is gone is no error."""
        await self._change("DELETE", f"/api/v1/roles/{quote(name, safe='')}", None, gone="role_not_found")

    async def tokens(self, user: str, description: str) -> tuple[StoreToken, ...] | Unknown:
        """Return the tokens of a user that have this description, and no sessions of a login."""
        found: list[StoreToken] = []
        after = ""
        for _ in range(PAGES_MAX):
            answer = await self._get(f"/api/v1/tokens?user={quote(user, safe='')}&limit={PAGE}{after}")
            if isinstance(answer, Unknown):
                return answer
            if answer.code != 200:
                return Unknown(_told(answer, refusal(answer)))
            page = _decoded(answer.body, _TokenPage)
            if isinstance(page, Unknown):
                return page
            found += [one.as_token() for one in page.tokens if one.description == description and not one.session]
            if page.next_cursor is None:
                return tuple(found)
            after = f"&cursor={quote(page.next_cursor, safe='')}"
        return Unknown(f"the user {user} has more than {PAGES_MAX * PAGE} tokens")

    async def issue_token(self, user: str, *, lifetime_s: int, description: str) -> IssuedToken:
        """Create a token. Raises ActionRefused or ActionUnfinished: then one may exist that was told to no one."""
        body = msgspec.json.encode({"user": user, "ttl": f"{lifetime_s}s", "description": description})
        answer = await self._change("POST", "/api/v1/tokens", body)
        made = _decoded(answer.body, _NewToken) if answer is not None else Unknown("no answer")
        if isinstance(made, Unknown):
            raise ActionUnfinished("the token that was created cannot be read: it is revoked later")
        return IssuedToken(id=made.id, secret=made.token, expires=_seconds(made.expires_ms))

    async def revoke_token(self, token_id: str) -> None:
        """Delete a token; one that is gone is no error."""
        await self._change("DELETE", f"/api/v1/tokens/{quote(token_id, safe='')}", None, gone="token_not_found")

    async def _one(self, path: str, kind: type[_T], gone: str) -> _T | Absent | Unknown:
        answer = await self._get(path)
        if isinstance(answer, Unknown):
            return answer
        if answer.code == 200:
            return _decoded(answer.body, kind)
        refused = refusal(answer)
        if isinstance(refused, Refused) and refused.code == gone:
            return ABSENT
        return Unknown(_told(answer, refused))

    async def _get(self, path: str) -> Answer | Unknown:
        """Return the first answer of a member that can give one."""
        found: Answer | Unknown = Unknown("no member was asked")
        for url in list(self._urls):
            found = await self._client.call("GET", f"{url}{path}")
            if isinstance(found, Answer) and found.code < 500:
                self._urls.remove(url)
                self._urls.insert(0, url)
                return found
        return found

    async def _change(self, method: str, path: str, body: bytes | None, *, gone: str = "") -> Answer | None:
        answer = await self._client.call(method, f"{self._urls[0]}{path}", body)
        if isinstance(answer, Unknown):
            raise ActionUnfinished(answer.reason)
        if answer.code < 300:
            return answer
        refused = refusal(answer)
        if isinstance(refused, Unknown):
            raise ActionUnfinished(refused.reason)
        if gone and refused.code == gone:
            return None
        raise ActionRefused(f"{refused.code}: {refused.detail}")


class _Token(msgspec.Struct):
    """A token in a list; times are Unix milliseconds, None for never."""

    id: str
    description: str = ""
    session: bool = False
    created_ms: int = 0
    expires_ms: int | None = None

    def as_token(self) -> StoreToken:
        """Return it as the planner sees it."""
        return StoreToken(
            id=self.id,
            description=self.description,
            created=self.created_ms / 1000,
            expires=_seconds(self.expires_ms),
        )


class _TokenPage(msgspec.Struct):
    tokens: list[_Token]
    next_cursor: str | None = None


class _NewToken(msgspec.Struct):
    """A token as it was created. Never shown: `token` is the secret."""

    id: str
    token: str
    expires_ms: int | None = None

    def __repr__(self) -> str:
        return f"_NewToken(id={self.id!r})"


def _seconds(milliseconds: int | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def _read_access(body: bytes) -> AccessSeen | Unknown:
    found = _decoded(body, dict[str, Any])
    if isinstance(found, Unknown):
        return found
    configured = found.get("configured") is True
    return AccessSeen(
        configured=configured,
        mode=str(found.get("mode", "")),
        config=canonical(found) if configured else "",
        revision=found["access_revision"] if isinstance(found.get("access_revision"), int) else 0,
    )


def _told(answer: Answer, refused: Refused | Unknown) -> str:
    said = f"{refused.code}: {refused.detail}" if isinstance(refused, Refused) else refused.reason
    return f"answered {answer.code}: {said}"


def _decoded(body: bytes, kind: type[_T]) -> _T | Unknown:
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.DecodeError as error:
        return Unknown(f"answered something else than expected: {error}")  # names fields and types, no values
