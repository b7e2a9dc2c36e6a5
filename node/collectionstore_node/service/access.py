"""`Access`: who may do what, as this member has applied it, and the users, roles and tokens behind it."""

from __future__ import annotations

from collections.abc import Iterable
from heapq import merge
from operator import itemgetter
from typing import Final, NamedTuple, TypeVar

from msgspec.structs import replace

from collectionstore_node.access.builtin import BUILT_IN
from collectionstore_node.access.callers import Caller, Method
from collectionstore_node.access.configuration import AccessConfiguration
from collectionstore_node.access.current import CALLER
from collectionstore_node.access.modes import Mode
from collectionstore_node.access.policy import Policy, inherited
from collectionstore_node.access.rights import Rights
from collectionstore_node.access.verbs import Kind, Verb
from collectionstore_node.errors import InvalidRequest
from collectionstore_node.service.access_requests import (
    AccessAction,
    CreateToken,
    ListRoles,
    ListTokens,
    ListUsers,
    ReadAccess,
    ReadRole,
    ReadToken,
    ReadUser,
)
from collectionstore_node.service.door import Door, Propose
from collectionstore_node.service.idempotency import request_text
from collectionstore_node.service.operations import ReadConsistency
from collectionstore_node.service.policies import AppliedPolicy
from collectionstore_node.service.results import ListResult, Outcome
from collectionstore_node.statemachine.access import (
    AccessRecord,
    RoleRecord,
    TokenRecord,
    UserRecord,
    access_revision,
    find_role,
    find_token,
    find_user,
    read_access,
    scan_roles,
    scan_tokens,
    scan_users,
    tokens_of,
)
from collectionstore_node.statemachine.access_changes import USER_TOKENS_MAX
from collectionstore_node.statemachine.access_checks import (
    TOKEN_ID,
    USED_MAX,
    check_role_name,
    check_token_id,
    check_user_name,
)
from collectionstore_node.statemachine.access_commands import Asked, UseTokens
from collectionstore_node.statemachine.commands import Command

PAGE_BYTES_MAX: Final = 256 << 10
"""A page of users, roles or tokens ends with the one that reaches this: it is rendered at once."""
USE_NOTED_MS: Final = 60 * 60 * 1000
"""The use of a token is noted in the state if the last note is older than this."""
NOTE_TIMEOUT_S: Final = 10.0

_LASTING: Final = (Method.CERTIFICATE, Method.LOCAL)
"""Credentials that no change of users, roles and tokens takes away."""


class UserFacts(NamedTuple):
    """A user."""

    name: str
    record: UserRecord

    @property
    def text(self) -> bytes:
        """What is large of it."""
        return self.record.body


class RoleFacts(NamedTuple):
    """A role."""

    name: str
    record: RoleRecord | None
    """None for one that every store has."""

    @property
    def text(self) -> bytes:
        """What is large of it."""
        return b"" if self.record is None else self.record.body


class TokenFacts(NamedTuple):
    """A token."""

    id: str
    record: TokenRecord

    @property
    def text(self) -> bytes:
        """What is large of it."""
        return self.record.description.encode()


P = TypeVar("P", UserFacts, RoleFacts, TokenFacts)


class AccessResult(NamedTuple):
    """The configuration, None for none, and what there is."""

    record: AccessRecord
    configuration: AccessConfiguration | None
    mode: Mode
    access_revision: int
    revision: int


class WhoAmI(NamedTuple):
    """The caller as this member sees it."""

    caller: Caller | None
    roles: tuple[str, ...]
    """All that count, those that are inherited too."""
    rights: Rights


class Access:
    """The access control of a store: part of `Store`, whose errors it raises. Belongs to one event loop."""

    __slots__ = ("_door", "_noted", "_policies", "_propose")

    def __init__(self, door: Door, propose: Propose, policies: AppliedPolicy) -> None:
        self._door = door
        self._propose = propose
        self._policies = policies
        self._noted: dict[str, int] = {}
        """Tokens whose use is to be noted, and when it was."""

    # What the caller may do

    def policy(self) -> Policy:
        """Return the policy of the applied state."""
        return self._policies.policy()

    def rights(self) -> Rights:
        """Return what the current caller may do, by the applied state."""
        return self._policies.rights()

    @property
    def mode(self) -> Mode:
        """The mode of the applied state."""
        return self.policy().mode

    @property
    def revision(self) -> int:
        """The access revision of the applied state; 0 where access control was never used."""
        return self.policy().revision

    def administers(self) -> bool:
        """Whether a role allows the current caller to administer; of no account while access control is off."""
        policy = self.policy()
        return policy.mode is not Mode.DISABLED and policy.rights(CALLER.get()).allows(Verb.ADMIN, Kind.CLUSTER, "")

    def whoami(self) -> WhoAmI:
        """Return the current caller and its roles, as this member has applied them."""
        policy, caller = self.policy(), CALLER.get()
        named = () if caller is None else policy.roles_of(caller)
        known = [name for name in inherited(named, policy.role) if policy.role(name) is not None]
        return WhoAmI(caller, tuple(known), policy.rights(caller))

    # What authentication looks up, of the applied state

    def user(self, name: str) -> UserRecord | None:
        """Return the record of a user, or None."""
        return find_user(self._door.replica.view, name)

    def token(self, token_id: str) -> TokenRecord | None:
        """Return the record of a token, or None."""
        return find_token(self._door.replica.view, token_id)

    def password(self, name: str) -> str | None:
        """Return the encoded argon2id hash of a user's password; None without a password or a user."""
        found = self.user(name)
        return None if found is None else found.password or None

    @property
    def configuration(self) -> AccessConfiguration:
        """The access configuration; without one, that of the member's own mode."""
        return self._policies.configuration

    # Users, roles, tokens and the configuration

    def asked(self) -> Asked:
        """Return who asks for a change, for apply to see that no one is locked out by it."""
        caller = CALLER.get()
        enforced, now_ms = self._policies.default is Mode.ENFORCED, self._door.replica.wall_ms()
        if caller is None or caller.method not in _LASTING:
            return Asked(enforced=enforced, time_ms=now_ms)
        return Asked(caller.user, caller.roles, enforced, now_ms)

    async def change(self, action: AccessAction, *, key: str | None, timeout_s: float) -> Outcome:
        """Make a change. Returns the outcome, whatever its code. Raises `OutcomeUnknown`."""
        # BEFORE the time is asked for: a change that is not admitted reaches nothing.
        self._door.admit(action)
        # BEFORE it is said who asks, and when: a repeated request is the same one a second later.
        request = None if key is None else request_text(action)
        if not isinstance(action, CreateToken | UseTokens):
            action = replace(action, asked=self.asked())
        return await self._propose(action, key, timeout_s, request=request)

    async def read_user(self, name: str, *, consistency: ReadConsistency, timeout_s: float) -> tuple[UserFacts, int]:
        """Return a user, and the store's revision. Raises `InvalidRequest("user_not_found")`."""
        view = await self._door.view(ReadUser(name), consistency, timeout_s)
        found = find_user(view, name)
        if found is None:
            raise InvalidRequest("user_not_found", "there is no user of this name")
        return UserFacts(name, found), self._door.replica.revision

    async def list_users(
        self, request: ListUsers, *, consistency: ReadConsistency, timeout_s: float
    ) -> ListResult[UserFacts]:
        """Return a page of users."""
        view = await self._door.view(request, consistency, timeout_s)
        found = (UserFacts(*one) for one in scan_users(view, request.prefix, request.after))
        return self._page(found, request.limit)

    async def read_role(self, name: str, *, consistency: ReadConsistency, timeout_s: float) -> tuple[RoleFacts, int]:
        """Return a role, and the store's revision. Raises `InvalidRequest("role_not_found")`."""
        view = await self._door.view(ReadRole(name), consistency, timeout_s)
        found = find_role(view, name)
        if found is None and name not in BUILT_IN:
            raise InvalidRequest("role_not_found", "there is no role of this name")
        return RoleFacts(name, found), self._door.replica.revision

    async def list_roles(
        self, request: ListRoles, *, consistency: ReadConsistency, timeout_s: float
    ) -> ListResult[RoleFacts]:
        """Return a page of roles."""
        view = await self._door.view(request, consistency, timeout_s)
        prefix, after = request.prefix, request.after
        ours = [
            RoleFacts(name, None)
            for name in sorted(BUILT_IN)
            if name.startswith(prefix) and (after is None or name > after)
        ]
        stored = (RoleFacts(*one) for one in scan_roles(view, prefix, after))
        return self._page(merge(ours, stored, key=itemgetter(0)), request.limit)

    async def read_token(
        self, token_id: str, *, consistency: ReadConsistency, timeout_s: float
    ) -> tuple[TokenFacts, int]:
        """Return a token, and the store's revision. Raises `InvalidRequest("token_not_found")`."""
        view = await self._door.view(ReadToken(token_id), consistency, timeout_s)
        found = find_token(view, token_id)
        if found is None:
            raise InvalidRequest("token_not_found", "there is no token with this ID")
        return TokenFacts(token_id, found), self._door.replica.revision

    async def list_tokens(
        self, request: ListTokens, *, consistency: ReadConsistency, timeout_s: float
    ) -> ListResult[TokenFacts]:
        """Return a page of tokens."""
        view = await self._door.view(request, consistency, timeout_s)
        user, after = request.user, request.after
        if user is None:
            return self._page((TokenFacts(*one) for one in scan_tokens(view, after)), request.limit)
        of_user = (
            TokenFacts(one, record)
            for one in tokens_of(view, user)
            if (after is None or one > after) and (record := find_token(view, one)) is not None
        )
        return self._page(of_user, request.limit)

    def _page(self, found: Iterable[P], limit: int) -> ListResult[P]:
        """Return the first of `found`, which are named by their first element: at most `limit`, of bounded size."""
        items: list[P] = []
        size = 0
        for one in found:
            if len(items) == limit or size >= PAGE_BYTES_MAX:
                return ListResult(tuple(items), items[-1][0], self._door.replica.revision)
            items.append(one)
            size += len(one.text)
        return ListResult(tuple(items), None, self._door.replica.revision)

    async def read_access(self, *, consistency: ReadConsistency, timeout_s: float) -> AccessResult:
        """Return the access configuration, and how much there is of the rest."""
        view = await self._door.view(ReadAccess(), consistency, timeout_s)
        record = read_access(view)
        configuration = record.configuration()
        mode = self._policies.default if configuration is None else configuration.mode
        return AccessResult(record, configuration, mode, access_revision(view), self._door.replica.revision)

    # When tokens were used

    def note_use(self, token_id: str, record: TokenRecord) -> None:
        """Note that a token was used now. It costs a lookup; a command is made of it once an hour at most."""
        now_ms = self._door.replica.wall_ms()
        if now_ms - record.used_ms >= USE_NOTED_MS and len(self._noted) < USED_MAX:
            self._noted[token_id] = now_ms

    async def store_uses(self) -> int:
        """Store what was noted, and return of how many tokens. Raises what proposing raises; it is lost then.

        By the replica: it is work of the node, not of a caller.
        """
        noted, self._noted = self._noted, {}
        if noted:
            await self._door.replica.propose(Command(UseTokens(tuple(noted.items()))), timeout_s=NOTE_TIMEOUT_S)
        return len(noted)


__all__ = [
    "TOKEN_ID",
    "USER_TOKENS_MAX",
    "Access",
    "AccessResult",
    "RoleFacts",
    "TokenFacts",
    "UserFacts",
    "WhoAmI",
    "check_role_name",
    "check_token_id",
    "check_user_name",
]
