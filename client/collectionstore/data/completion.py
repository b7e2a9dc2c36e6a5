"""What shells complete: names of contexts, collections, indexes, and IDs of documents.

A completion asks the cluster for at most a second, and offers nothing where it cannot: who presses Tab wants no
error message in the middle of the line. It never asks on Kubernetes, where a connection takes longer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import click
from click.shell_completion import CompletionItem

from collectionstore.cli.exit_codes import CommandError
from collectionstore.contexts import file
from collectionstore.data.connection import CONNECTION, choice_of
from collectionstore.data.session import Session, shared_session
from collectionstore.data.store import Store

TIMEOUT_S: Final = 1.0
OFFERED_MAX: Final = 200


def complete_context(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the contexts of the file."""
    try:
        found = file.read().contexts
    except CommandError:
        return []
    return [CompletionItem(name, help=one.place) for name, one in sorted(found.items()) if name.startswith(incomplete)]


def complete_collection(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Offer the collections that begin so."""

    async def ask(store: Store) -> list[str]:
        return await store.collection_names(prefix=incomplete, limit=OFFERED_MAX)

    return _asked(context, ask)


def complete_index(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Offer the indexes of the collection that the command names."""
    collection = str(context.params.get("collection") or "")

    async def ask(store: Store) -> list[str]:
        return [one for one in await store.index_names(collection) if one.startswith(incomplete)]

    return _asked(context, ask) if collection else []


def complete_id(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Offer the IDs of the collection that the command names."""
    collection = str(context.params.get("collection") or "")

    async def ask(store: Store) -> list[str]:
        found = await store.document_ids(collection, prefix=incomplete, limit=OFFERED_MAX)
        return [one for one in found if one.isprintable() and " " not in one]

    return _asked(context, ask) if collection else []


def _asked(context: click.Context, ask: Callable[[Store], Awaitable[list[str]]]) -> list[str]:
    given = {name: context.params.get(name) for name in CONNECTION}

    async def bounded(store: Store) -> list[str]:
        async with asyncio.timeout(TIMEOUT_S):
            return await ask(store)

    try:
        shared = shared_session(context)
        choice = choice_of(context, given)
        if shared is not None and not choice.given:
            return shared.run(bounded, "cannot complete")
        session = Session(choice, timeout_s=TIMEOUT_S)
        try:
            if session.target.context.kubernetes is not None:
                return []
            return session.run(bounded, "cannot complete")
        finally:
            session.close()
    except (CommandError, click.UsageError, TimeoutError):
        return []
