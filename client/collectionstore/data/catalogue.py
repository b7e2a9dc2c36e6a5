"""The commands on data, as root commands list them. Imports none of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from collectionstore.cli.lazy import Lazy

_ROOM: Final = "collectionstore.data"

DOCUMENTS: Final[Mapping[str, Lazy]] = {
    "get": Lazy(f"{_ROOM}.documents:get", "Show documents by their IDs."),
    "put": Lazy(f"{_ROOM}.documents:put", "Create or replace a document."),
    "insert": Lazy(f"{_ROOM}.documents:insert", "Create a document; the store makes its ID."),
    "update": Lazy(f"{_ROOM}.updates:update", "Change documents where they are."),
    "delete": Lazy(f"{_ROOM}.documents:delete", "Delete documents, by ID or by a filter."),
    "find": Lazy(f"{_ROOM}.queries:find", "Find documents by what is in them."),
    "count": Lazy(f"{_ROOM}.queries:count", "Count documents."),
    "distinct": Lazy(f"{_ROOM}.queries:distinct", "Show the different values of a field."),
    "aggregate": Lazy(f"{_ROOM}.queries:aggregate", "Compute, group and join documents by a pipeline."),
    "transaction": Lazy(f"{_ROOM}.transactions:transaction", "Several changes at one revision, or none."),
    "watch": Lazy(f"{_ROOM}.watching:watch", "Show changes as they are made."),
}
COLLECTIONS: Final[Mapping[str, Lazy]] = {
    "collection": Lazy(f"{_ROOM}.collections_group:collection_group", "List, create and drop collections."),
    "index": Lazy(f"{_ROOM}.indexes:index_group", "List, create and drop indexes."),
    "schema": Lazy(f"{_ROOM}.schemas:schema_group", "Show, set and try the schema of a collection."),
    "import": Lazy(f"{_ROOM}.importing:import_command", "Import documents from NDJSON or CSV."),
    "export": Lazy(f"{_ROOM}.exporting:export", "Export documents as NDJSON or CSV."),
    "kv": Lazy(f"{_ROOM}.values:kv_group", "Values: bytes under a key in a bucket."),
}
CONNECTION: Final[Mapping[str, Lazy]] = {
    "context": Lazy(f"{_ROOM}.contexts_group:context_group", "Which clusters there are, and by which credentials."),
    "shell": Lazy("collectionstore.shell.prompt:shell", "A prompt for these commands, with history and completion."),
    "completion": Lazy(f"{_ROOM}.completing:completion", "Print the completion script of a shell."),
    "bench": Lazy(f"{_ROOM}.benching:bench", "Measure reads and writes of this cluster, from here."),
}
ACCESS: Final[Mapping[str, Lazy]] = {
    "login": Lazy(f"{_ROOM}.logins:login", "Log in with a user and a password."),
    "logout": Lazy(f"{_ROOM}.logins:logout", "End the login of a context."),
    "whoami": Lazy(f"{_ROOM}.logins:whoami", "Show who the store takes you for, and your roles."),
    "user": Lazy(f"{_ROOM}.users:user_group", "Users, their roles and passwords."),
    "role": Lazy(f"{_ROOM}.roles:role_group", "Roles: what users may do."),
    "token": Lazy(f"{_ROOM}.tokens:token_group", "Tokens of users, for programs."),
    "access": Lazy(f"{_ROOM}.logins:access_group", "Whether and how access is controlled."),
}
SECTIONS: Final[Mapping[str, Mapping[str, Lazy]]] = {
    "Documents": DOCUMENTS,
    "Collections": COLLECTIONS,
    "Users and rights": ACCESS,
    "Connection": CONNECTION,
}
ALL: Final[Mapping[str, Lazy]] = {name: one for section in SECTIONS.values() for name, one in section.items()}
