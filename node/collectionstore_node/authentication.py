"""Makes what authenticates the clients of a member: the guard of its ports, and what tends to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Final

from collectionstore_node.access.callers import Caller
from collectionstore_node.access.verbs import Kind, Verb
from collectionstore_node.api.http.guard import Guard
from collectionstore_node.authn.authenticator import Authenticator
from collectionstore_node.authn.fetching import ApiServerAccess, KeyFetch
from collectionstore_node.authn.key_sources import KeySources
from collectionstore_node.authn.passwords import Passwords
from collectionstore_node.metrics import AuthenticationSeries
from collectionstore_node.security.admin_token import AdminToken
from collectionstore_node.security.client_tls import ClientTls
from collectionstore_node.service import Consistency, Store
from collectionstore_node.settings import Settings
from collectionstore_telemetry.metrics import Metrics

TEND_S: Final = 2.0
"""How often keys are looked after."""
CATCH_UP_S: Final = 2.0


async def make_guard(
    stack: AsyncExitStack,
    settings: Settings,
    store: Store,
    metrics: Metrics,
    tls: ClientTls | None,
    wall_ms: Callable[[], int],
) -> Guard:
    """Return the guard of the ports of a member; `stack` closes it."""
    fetch, passwords = KeyFetch(settings.keys_dir, _api_server(settings)), Passwords()
    clock = asyncio.get_running_loop().time
    local = None
    if tls is None and settings.admin_token_file is not None:
        local = AdminToken(settings.admin_token_file).matches

    async def catch_up() -> None:
        await store.confirm(Consistency.LINEARIZABLE, timeout_s=CATCH_UP_S)

    authenticator = Authenticator(
        store.access,
        lambda changed: KeySources(fetch, clock, changed),
        passwords,
        cluster_id=settings.cluster_id,
        wall_s=lambda: wall_ms() / 1000,
        clock=clock,
        catch_up=catch_up,
        trust=tls,
        local=local,
    )
    series = AuthenticationSeries(metrics)
    series.follow(authenticator.keys, lambda: passwords.waiting)
    stack.callback(passwords.close)
    stack.push_async_callback(fetch.close)
    stack.push_async_callback(authenticator.keys.close)

    def allows(caller: Caller, verb: Verb, kind: Kind, name: str) -> bool:
        return store.access.policy().rights(caller).allows(verb, kind, name)

    return Guard(authenticator, series, allows)


async def tend(guard: Guard) -> None:
    """Keep the keys of issuers until cancelled."""
    while True:
        await asyncio.sleep(TEND_S)
        _ = guard.authenticator.epoch  # a configuration that was applied while no request came
        await guard.authenticator.keys.tend()


def _api_server(settings: Settings) -> ApiServerAccess | None:
    if settings.api_server is None:
        return None
    folder = settings.service_account_dir
    return ApiServerAccess(f"https://{settings.api_server}", folder / "ca.crt", folder / "token")
