"""Sessions of a web application in Collection Store: they end by themselves, and all of a user's at once.

    COLLECTIONSTORE_URL=collectionstore://127.0.0.1:7400 python sessions.py

`POST /login`, `GET /me`, `POST /logout`, `POST /logout-everywhere`.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from collectionstore import AsyncClient
from collectionstore.errors import Conflict, NotFound

COLLECTION = "sessions"
COOKIE = "session"


@dataclass(frozen=True)
class Session:
    """Who is signed in."""

    user: str
    data: dict[str, Any]


class SessionStore:
    """Sessions, by a secret that only the browser has: the store knows its digest, which opens nothing."""

    def __init__(self, client: AsyncClient, *, idle_s: int = 1800) -> None:
        """A session ends `idle_s` seconds after it was last used."""
        self._client = client
        self._sessions = client.collection(COLLECTION)
        self._idle_s = idle_s

    async def prepare(self) -> None:
        """Make the collection and its index, once for all processes."""
        await self._client.create_collection(COLLECTION, exist_ok=True)
        try:
            await self._sessions.create_index("user", name="by_user")
        except Conflict:
            pass  # another process has made it

    async def begin(self, user: str, **data: Any) -> str:
        """Begin a session, and return its secret."""
        secret = secrets.token_urlsafe(32)
        await self._sessions.put(digest(secret), {"user": user, "data": data}, if_exists=False, ttl=self._idle_s)
        return secret

    async def find(self, secret: str) -> Session | None:
        """Return the session of a secret, and let it last for another while; None if it has ended."""
        key = digest(secret)
        found = await self._sessions.find_one(key)
        if found is None:
            return None
        try:
            # No new revision: using a session is no change of it.
            await self._sessions.touch(key, ttl=self._idle_s)
        except NotFound:
            return None  # it has ended between the two
        return Session(found["user"], found["data"])

    async def end(self, secret: str) -> None:
        """End a session."""
        await self._sessions.delete(digest(secret))

    async def end_all(self, user: str) -> int:
        """End all sessions of a user; return how many there were."""
        return (await self._sessions.delete_many({"user": user})).deleted_count


def digest(secret: str) -> str:
    """Return under what a session is stored."""
    return hashlib.sha256(secret.encode()).hexdigest()


SESSIONS = web.AppKey("sessions", SessionStore)
routes = web.RouteTableDef()


@routes.post("/login")
async def login(request: web.Request) -> web.Response:
    """Begin a session: `{"user"}`. An application checks a password here."""
    user = (await request.json())["user"]
    response = web.json_response({"user": user})
    secret = await request.app[SESSIONS].begin(user)
    response.set_cookie(COOKIE, secret, httponly=True, samesite="Lax", secure=request.secure)
    return response


@routes.get("/me")
async def me(request: web.Request) -> web.Response:
    """Say who is signed in."""
    session = await request.app[SESSIONS].find(request.cookies.get(COOKIE, ""))
    if session is None:
        return web.json_response({"error": "sign in"}, status=401)
    return web.json_response({"user": session.user})


@routes.post("/logout")
async def logout(request: web.Request) -> web.Response:
    """End the session of this browser."""
    await request.app[SESSIONS].end(request.cookies.get(COOKIE, ""))
    response = web.json_response({})
    response.del_cookie(COOKIE)
    return response


@routes.post("/logout-everywhere")
async def logout_everywhere(request: web.Request) -> web.Response:
    """End all sessions of the one who is signed in."""
    sessions = request.app[SESSIONS]
    session = await sessions.find(request.cookies.get(COOKIE, ""))
    if session is None:
        return web.json_response({"error": "sign in"}, status=401)
    return web.json_response({"ended": await sessions.end_all(session.user)})


async def connection(app: web.Application) -> AsyncIterator[None]:
    """Hold one client for the life of the application."""
    async with AsyncClient() as client:  # by COLLECTIONSTORE_URL
        app[SESSIONS] = SessionStore(client, idle_s=int(os.environ.get("SESSION_IDLE_S", "1800")))
        await app[SESSIONS].prepare()
        yield


def make_app() -> web.Application:
    """Return the application."""
    app = web.Application()
    app.add_routes(routes)
    app.cleanup_ctx.append(connection)
    return app


if __name__ == "__main__":
    web.run_app(make_app(), port=int(os.environ.get("PORT", "8080")))
