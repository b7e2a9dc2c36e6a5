"""Users and tokens in memory, for tests of authentication without a store."""

from __future__ import annotations

import msgspec

from collectionstore_node.access.configuration import AccessConfiguration
from collectionstore_node.access.modes import Mode
from collectionstore_node.access.tokens import MadeToken, make_token
from collectionstore_node.statemachine.access import TokenRecord, UserRecord


class MemoryDirectory:
    """Implements `Directory`."""

    def __init__(self) -> None:
        self.revision = 1
        self.configuration = AccessConfiguration(mode=Mode.ENFORCED)
        self.users: dict[str, UserRecord] = {}
        self.tokens: dict[str, TokenRecord] = {}
        self.used: list[str] = []
        self._made = 0

    def policy(self) -> MemoryDirectory:
        return self

    @property
    def mode(self) -> Mode:
        return self.configuration.mode

    def user(self, name: str) -> UserRecord | None:
        return self.users.get(name)

    def password(self, name: str) -> str | None:
        found = self.users.get(name)
        return None if found is None else found.password or None

    def token(self, token_id: str) -> TokenRecord | None:
        return self.tokens.get(token_id)

    def note_use(self, token_id: str, record: TokenRecord) -> None:
        self.used.append(token_id)

    # What a test changes; each is a new revision

    def put_user(self, name: str, *, disabled: bool = False, password: str = "") -> None:
        self.users[name] = UserRecord(b"{}", (), disabled, 1, 1, password)
        self.revision += 1

    def drop_user(self, name: str) -> None:
        del self.users[name]
        self.revision += 1

    def put_token(self, user: str, *, expires_ms: int = 0) -> MadeToken:
        self._made += 1
        made = make_token(self._made.to_bytes(8, "big"), self._made.to_bytes(32, "big"))
        # A new token is no change of rights: the revision stays.
        self.tokens[made.id] = TokenRecord(user, made.digest, 0, expires_ms, "", 1, 1)
        return made

    def change_token(self, token_id: str, **given: object) -> None:
        self.tokens[token_id] = msgspec.structs.replace(self.tokens[token_id], **given)
        self.revision += 1

    def revoke(self, token_id: str) -> None:
        del self.tokens[token_id]
        self.revision += 1

    def configure(self, **given: object) -> None:
        self.configuration = msgspec.structs.replace(self.configuration, **given)
        self.revision += 1
