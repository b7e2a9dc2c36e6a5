"""How users, roles, tokens and the access configuration change; from level `CHANGES` on.

Every change takes effect at its revision, which is the access revision from then on: a command that was authorized by
an earlier one is refused (`Command.access`). A new token is no such change, as no one has held it before, and neither
is the note of its use.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

import msgspec

from collectionstore_node.access.builtin import BUILT_IN
from collectionstore_node.access.configuration import parse_configuration, roles_named
from collectionstore_node.access.inheritance import Inheriting, closure, flaw_of
from collectionstore_node.access.roles import exact_collections, parse_role
from collectionstore_node.access.users import USER_RULES_MAX, parse_user
from collectionstore_node.errors import InvalidRequest
from collectionstore_node.statemachine.access import (
    AccessRecord,
    RoleRecord,
    TokenRecord,
    UserRecord,
    find_role,
    find_token,
    find_user,
    read_access,
    scan_roles,
    scan_users,
    tokens_of,
)
from collectionstore_node.statemachine.access_checks import check_access
from collectionstore_node.statemachine.access_commands import (
    AccessAction,
    ConfigureAccess,
    CreateToken,
    DeleteRole,
    DeleteUser,
    PutRole,
    PutUser,
    RevokeToken,
    RotateToken,
    SetPassword,
    UseTokens,
)
from collectionstore_node.statemachine.catalog import Catalog
from collectionstore_node.statemachine.commands import Code, Outcome, Rotated, refused_part_item, rotated_item
from collectionstore_node.statemachine.costs import PARSE_COST, READ_COST_BYTES
from collectionstore_node.statemachine.header import Header
from collectionstore_node.statemachine.keys import ACCESS_KEY, role_key, token_record_key, tokens_prefix, user_key
from collectionstore_node.statemachine.lockout import Change, locks_out
from collectionstore_node.statemachine.view import Overlay

USERS_MAX: Final = 1_000
ROLES_MAX: Final = 256
TOKENS_MAX: Final = 4_000
USER_TOKENS_MAX: Final = 64
"""Tokens of one user."""

_BUILT_IN: Final[dict[str, Inheriting]] = {
    name: RoleRecord(b"", role.inherits, len(role.rules), 0, 0) for name, role in BUILT_IN.items()
}
_encoder: Final = msgspec.msgpack.Encoder()


def apply_access(overlay: Overlay, catalog: Catalog, action: AccessAction, header: Header) -> Outcome:
    """Apply a command of access control."""
    # Again, although the proposer has checked: what cannot be parsed would raise wherever it is read.
    overlay.cost += PARSE_COST * len(getattr(action, "body", b""))
    try:
        check_access(action)
    except InvalidRequest:
        return Outcome(Code.ACCESS_INVALID, header.revision)
    return _Application(overlay, catalog, header).apply(action)


class _Application:
    """One command and the state that it is applied to."""

    def __init__(self, overlay: Overlay, catalog: Catalog, header: Header) -> None:
        self._overlay = overlay
        self._catalog = catalog
        self._header = header
        self._revision = header.revision
        self._record = read_access(overlay)

    def apply(self, action: AccessAction) -> Outcome:
        match action:
            case PutUser():
                return self._put_user(action)
            case DeleteUser():
                return self._delete_user(action)
            case PutRole():
                return self._put_role(action)
            case DeleteRole():
                return self._delete_role(action)
            case CreateToken():
                return self._create_token(action)
            case RotateToken():
                return self._rotate_token(action)
            case RevokeToken():
                return self._revoke_token(action)
            case UseTokens():
                return self._use_tokens(action)
            case ConfigureAccess():
                return self._configure(action)
            case SetPassword():
                return self._set_password(action)

    # Users

    def _put_user(self, put: PutUser) -> Outcome:
        known = find_user(self._overlay, put.name)
        refused = self._unexpected(put.expected, known)
        if refused is not None:
            return refused
        if known is None and self._record.users >= USERS_MAX:
            return self._full("", f"{USERS_MAX} users")
        user = parse_user(put.body)
        for at, name in enumerate(user.roles):
            if not self._role_exists(name):
                return self._unknown(f"/roles/{at}", name)
        if self._rules_of(user.roles) > USER_RULES_MAX:
            return self._full("/roles", f"{USER_RULES_MAX} rules of all roles of a user")
        revision = self._revision
        made = UserRecord(put.body, user.roles, user.disabled, revision, revision)
        if known is not None:
            made = msgspec.structs.replace(
                made,
                created_revision=known.created_revision,
                password=known.password,
                password_revision=known.password_revision,
            )
        if self._locked_out(put, Change(users={put.name: made})):
            return self._refused(Code.LOCKED_OUT, known)
        self._store(user_key(put.name), made)
        return self._changed(created=known is None, users=known is None)

    def _set_password(self, change: SetPassword) -> Outcome:
        known = find_user(self._overlay, change.user)
        if known is None:
            return self._refused(Code.USER_NOT_FOUND)
        refused = self._unexpected(change.expected, known)
        if refused is not None:
            return refused
        revision = self._revision
        made = msgspec.structs.replace(known, password=change.password, password_revision=revision, revision=revision)
        if self._locked_out(change, Change(users={change.user: made})):
            return self._refused(Code.LOCKED_OUT, known)
        self._store(user_key(change.user), made)
        return self._changed()

    def _delete_user(self, delete: DeleteUser) -> Outcome:
        known = find_user(self._overlay, delete.name)
        if known is None:
            return self._refused(Code.USER_NOT_FOUND)
        refused = self._unexpected(delete.expected, known)
        if refused is not None:
            return refused
        if self._locked_out(delete, Change(users={delete.name: None})):
            return self._refused(Code.LOCKED_OUT, known)
        tokens = tokens_of(self._overlay, delete.name)
        for token_id in tokens:
            self._remove_token(token_id, delete.name)
        self._overlay.delete(user_key(delete.name))
        return self._changed(users=-1, tokens=-len(tokens))

    # Roles

    def _put_role(self, put: PutRole) -> Outcome:
        known = find_role(self._overlay, put.name)
        refused = self._unexpected(put.expected, known)
        if refused is not None:
            return refused
        if known is None and self._record.roles >= ROLES_MAX:
            return self._full("", f"{ROLES_MAX} roles")
        role = parse_role(put.body)
        for at, name in enumerate(role.inherits):
            # Its own name is looked at below: it would inherit itself.
            if name != put.name and not self._role_exists(name):
                return self._unknown(f"/inherits/{at}", name)
        for name, pointer in () if put.missing else exact_collections(role):
            if self._catalog.documents_of(name) is None:
                return self._unknown(pointer, name)
        created = self._revision if known is None else known.created_revision
        made = RoleRecord(put.body, role.inherits, len(role.rules), created, self._revision)
        refused = self._ill_formed(put.name, made)
        if refused is not None:
            return refused
        if self._locked_out(put, Change(roles={put.name: made})):
            return self._refused(Code.LOCKED_OUT, known)
        self._store(role_key(put.name), made)
        return self._changed(created=known is None, roles=known is None)

    def _ill_formed(self, name: str, made: RoleRecord) -> Outcome | None:
        """Refuse a role by which roles would inherit themselves, too many in a row, or too many rules."""
        flaw = flaw_of({**_BUILT_IN, **dict(self._scan_roles())}, name, made)
        if flaw is None:
            return None
        code = Code.ROLE_CIRCULAR if flaw.circular else Code.ACCESS_FULL
        return self._refused(code, part=(flaw.pointer, flaw.what))

    def _delete_role(self, delete: DeleteRole) -> Outcome:
        known = find_role(self._overlay, delete.name)
        if known is None:
            return self._refused(Code.ROLE_NOT_FOUND)
        refused = self._unexpected(delete.expected, known)
        if refused is not None:
            return refused
        user = next(self._users_with(delete.name), None)
        if user is not None:
            return self._refused(Code.ROLE_IN_USE, known, part=("user", user))
        role = next((name for name, record in self._scan_roles() if delete.name in record.inherits), None)
        if role is not None:
            return self._refused(Code.ROLE_IN_USE, known, part=("role", role))
        configuration = self._record.configuration()
        named = [] if configuration is None else roles_named(configuration)
        where = next((pointer for name, pointer in named if name == delete.name), None)
        if where is not None:
            return self._refused(Code.ROLE_IN_USE, known, part=("configuration", where))
        # No one has it, so no one loses a right by it; a caller may have it by a credential.
        if self._locked_out(delete, Change(roles={delete.name: None})):
            return self._refused(Code.LOCKED_OUT, known)
        self._overlay.delete(role_key(delete.name))
        return self._changed(roles=-1)

    # Tokens

    def _create_token(self, create: CreateToken) -> Outcome:
        if find_token(self._overlay, create.id) is not None:
            return self._refused(Code.PRECONDITION_FAILED)
        if find_user(self._overlay, create.user) is None:
            return self._refused(Code.USER_NOT_FOUND)
        removed = self._make_room(create)
        if self._record.tokens - removed >= TOKENS_MAX:
            return self._full("", f"{TOKENS_MAX} tokens")
        if len(tokens_of(self._overlay, create.user)) >= USER_TOKENS_MAX:
            return self._full("/user", f"{USER_TOKENS_MAX} tokens of a user")
        revision = self._revision
        made = TokenRecord(
            create.user,
            create.digest,
            create.created_ms,
            create.expires_ms,
            create.description,
            revision,
            revision,
            session=create.session,
        )
        self._store(token_record_key(create.id), made)
        self._overlay.put(tokens_prefix(create.user) + create.id.encode(), b"")
        self._count(tokens=1 - removed)
        if removed:
            self._header.access_revision = revision
        return Outcome(Code.OK, revision, created=True)

    def _make_room(self, create: CreateToken) -> int:
        """Remove a session for a new one, if its user has too many tokens; return how many were removed.

        Only sessions: which tokens have ended is told by the clock of one member, and a login can be repeated.
        """
        tokens = tokens_of(self._overlay, create.user) if create.session else []
        if len(tokens) < USER_TOKENS_MAX:
            return 0
        records = [(one, find_token(self._overlay, one)) for one in tokens]
        sessions = [(record.expires_ms, one) for one, record in records if record is not None and record.session]
        if not sessions:
            return 0
        self._remove_token(min(sessions)[1], create.user)
        return 1

    def _rotate_token(self, rotate: RotateToken) -> Outcome:
        known = find_token(self._overlay, rotate.id)
        if known is None:
            return self._refused(Code.TOKEN_NOT_FOUND)
        until_ms = rotate.previous_until_ms
        if known.expires_ms:
            until_ms = min(until_ms, known.expires_ms)
        made = msgspec.structs.replace(
            known,
            digest=rotate.digest,
            previous=known.digest,
            previous_until_ms=until_ms,
            expires_ms=known.expires_ms if rotate.expires_ms is None else rotate.expires_ms,
            revision=self._revision,
        )
        # Its user has it still, unless it is given an end that has passed.
        ended = 0 < made.expires_ms <= rotate.asked.time_ms
        if ended and self._locked_out(rotate, Change(revoked=frozenset((rotate.id,)))):
            return self._refused(Code.LOCKED_OUT, known)
        self._store(token_record_key(rotate.id), made)
        item = rotated_item(Rotated(made.user, made.expires_ms, made.previous_until_ms))
        return msgspec.structs.replace(self._changed(), items=(item,))

    def _revoke_token(self, revoke: RevokeToken) -> Outcome:
        known = find_token(self._overlay, revoke.id)
        if known is None:
            return self._refused(Code.TOKEN_NOT_FOUND)
        if self._locked_out(revoke, Change(revoked=frozenset((revoke.id,)))):
            return self._refused(Code.LOCKED_OUT, known)
        self._remove_token(revoke.id, known.user)
        return self._changed(tokens=-1)

    def _remove_token(self, token_id: str, user: str) -> None:
        self._overlay.delete(token_record_key(token_id))
        self._overlay.delete(tokens_prefix(user) + token_id.encode())

    def _use_tokens(self, use: UseTokens) -> Outcome:
        for token_id, used_ms in use.used:
            known = find_token(self._overlay, token_id)
            if known is not None and used_ms > known.used_ms:
                self._store(token_record_key(token_id), msgspec.structs.replace(known, used_ms=used_ms))
        return Outcome(Code.OK, self._revision)

    # The configuration

    def _configure(self, configure: ConfigureAccess) -> Outcome:
        record = self._record
        expected = configure.expected
        if expected is not None and expected != record.revision:
            return Outcome(Code.PRECONDITION_FAILED, self._revision, current_revision=record.revision)
        configuration = parse_configuration(configure.body)
        for name, pointer in roles_named(configuration):
            if not self._role_exists(name):
                return self._unknown(pointer, name)
        if self._locked_out(configure, Change(configuration=configuration)):
            return Outcome(Code.LOCKED_OUT, self._revision, current_revision=record.revision)
        created = not record.body
        self._record = msgspec.structs.replace(record, body=configure.body, revision=self._revision)
        return self._changed(created=created)

    # What they share

    def _store(self, key: bytes, record: UserRecord | RoleRecord | TokenRecord | AccessRecord) -> None:
        self._overlay.put(key, _encoder.encode(record))

    def _count(self, *, users: int = 0, roles: int = 0, tokens: int = 0) -> None:
        record = self._record
        self._store(
            ACCESS_KEY,
            msgspec.structs.replace(
                record, users=record.users + users, roles=record.roles + roles, tokens=record.tokens + tokens
            ),
        )

    def _changed(self, *, created: bool = False, users: int = 0, roles: int = 0, tokens: int = 0) -> Outcome:
        """Store the record of the whole, and make this revision that of access."""
        self._count(users=users, roles=roles, tokens=tokens)
        self._header.access_revision = self._revision
        return Outcome(Code.OK, self._revision, created=created)

    def _unexpected(self, expected: int | None, known: UserRecord | RoleRecord | None) -> Outcome | None:
        current = 0 if known is None else known.revision
        if expected is None or expected == current:
            return None
        return Outcome(Code.PRECONDITION_FAILED, self._revision, current_revision=current)

    def _refused(
        self,
        code: Code,
        known: UserRecord | RoleRecord | TokenRecord | None = None,
        *,
        part: tuple[str, str] | None = None,
    ) -> Outcome:
        items = () if part is None else (refused_part_item(*part),)
        return Outcome(code, self._revision, current_revision=0 if known is None else known.revision, items=items)

    def _unknown(self, pointer: str, name: str) -> Outcome:
        return self._refused(Code.ACCESS_UNKNOWN, part=(pointer, name))

    def _full(self, pointer: str, what: str) -> Outcome:
        return self._refused(Code.ACCESS_FULL, part=(pointer, what))

    def _locked_out(
        self,
        action: PutUser | SetPassword | DeleteUser | PutRole | DeleteRole | RotateToken | RevokeToken | ConfigureAccess,
        change: Change,
    ) -> bool:
        return locks_out(self._overlay, self._record, action.asked, change)

    def _role_exists(self, name: str) -> bool:
        return name in BUILT_IN or find_role(self._overlay, name) is not None

    def _rules_of(self, names: Iterable[str]) -> int:
        """Return how many rules roles have with all that they inherit."""
        known: dict[str, Inheriting | None] = {}

        def inherits(name: str) -> tuple[str, ...]:
            record = known[name] = _BUILT_IN.get(name) or find_role(self._overlay, name)
            return () if record is None else record.inherits

        return sum(record.rules for name in closure(names, inherits) if (record := known[name]) is not None)

    def _users_with(self, role: str) -> Iterator[str]:
        for name, record in scan_users(self._overlay):
            self._overlay.cost += READ_COST_BYTES
            if role in record.roles:
                yield name

    def _scan_roles(self) -> Iterator[tuple[str, RoleRecord]]:
        for name, record in scan_roles(self._overlay):
            self._overlay.cost += READ_COST_BYTES + len(record.body)
            yield name, record
