"""A small web service on Collection Store: a shop that never sells what it does not have.

    COLLECTIONSTORE_URL=collectionstore://127.0.0.1:7400 python shop.py

`PUT /items/{sku}` sets a stock, `POST /orders` takes from it, `GET /orders/{id}` reads an order.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import web

from collectionstore import AsyncClient
from collectionstore.errors import CollectionStoreError, SchemaViolation

STORE = web.AppKey("store", AsyncClient)
ITEM = {"required": ["stock"], "properties": {"stock": {"type": "integer", "minimum": 0}}}
routes = web.RouteTableDef()


async def described(request: web.Request, **fields: type) -> dict[str, Any]:
    """Return the JSON of a body that has these fields. Raises HTTPBadRequest."""
    try:
        body = json.loads(await request.text())
        if all(type(body[name]) is kind for name, kind in fields.items()):
            return {name: body[name] for name in fields}
    except (KeyError, TypeError, ValueError):
        pass  # answered below
    wanted = ", ".join(f"{name} ({kind.__name__})" for name, kind in fields.items())
    raise web.HTTPBadRequest(
        text=json.dumps({"error": f"the body is JSON with {wanted}"}), content_type="application/json"
    )


@routes.put("/items/{sku}")
async def put_item(request: web.Request) -> web.Response:
    """Set what there is of an item: `{"stock": 3}`."""
    sku = request.match_info["sku"]
    item = await described(request, stock=int)
    await request.app[STORE].collection("items").put(sku, {"stock": item["stock"]})
    return web.json_response({"sku": sku, "stock": item["stock"]})


@routes.get("/items/{sku}")
async def get_item(request: web.Request) -> web.Response:
    """Return what there is of an item."""
    item = await request.app[STORE].collection("items").find_one(request.match_info["sku"])
    return web.json_response(item) if item is not None else web.json_response({"error": "no such item"}, status=404)


@routes.post("/orders")
async def post_order(request: web.Request) -> web.Response:
    """Take items from the stock, and record the order: `{"id", "sku", "count"}`; both happen, or neither.

    The client names the order, so that sending it again orders nothing twice.
    """
    order = await described(request, id=str, sku=str, count=int)
    if order["count"] < 1:
        raise web.HTTPBadRequest(text='{"error": "count is 1 or more"}', content_type="application/json")
    store = request.app[STORE]
    enough = {"collection": "items", "id": order["sku"], "filter": {"stock": {"$gte": order["count"]}}}
    done = await store.transact(
        compare=[
            {**enough, "field": "exists", "operand": True},
            {"collection": "orders", "id": order["id"], "field": "exists", "operand": False},
        ],
        then=[
            {"op": "update", "collection": "items", "id": order["sku"], "update": {"$inc": {"stock": -order["count"]}}},
            {
                "op": "put",
                "collection": "orders",
                "id": order["id"],
                "document": {"sku": order["sku"], "count": order["count"]},
            },
        ],
    )
    if done.succeeded:
        return web.json_response({"id": order["id"], "revision": done.revision}, status=201)
    before = await store.collection("orders").find_one(order["id"])
    if before is not None:
        return web.json_response({"id": order["id"], "sku": before["sku"], "count": before["count"]}, status=200)
    return web.json_response({"error": "not enough of it"}, status=409)


@routes.get("/orders/{id}")
async def get_order(request: web.Request) -> web.Response:
    """Return an order."""
    order = await request.app[STORE].collection("orders").find_one(request.match_info["id"])
    return web.json_response(order) if order is not None else web.json_response({"error": "no such order"}, status=404)


@routes.get("/livez")
async def live(_request: web.Request) -> web.Response:
    """Say that this process runs, whatever the store does: a restart would not mend it."""
    return web.json_response({"alive": True})


@routes.get("/readyz")
async def ready(request: web.Request) -> web.Response:
    """Say whether the store answers, so that Kubernetes sends requests to pods that can serve them."""
    await request.app[STORE].ping(timeout="1s")
    return web.json_response({"ready": True})


@web.middleware
async def errors(request: web.Request, handler: Any) -> web.StreamResponse:
    """Tell clients what they can do: correct the request, or send it again."""
    try:
        response: web.StreamResponse = await handler(request)
    except SchemaViolation:
        return web.json_response({"error": "a stock is a whole number, and not below 0"}, status=400)
    except CollectionStoreError as error:
        # Where the outcome is unknown, the same order may be sent again: it is made once.
        status = 503 if error.retryable or error.outcome == "unknown" else 500
        return web.json_response({"error": "the store cannot do this now", "outcome": error.outcome}, status=status)
    return response


async def connection(app: web.Application) -> AsyncIterator[None]:
    """Hold one client for the life of the service."""
    async with AsyncClient() as store:  # by COLLECTIONSTORE_URL, or COLLECTIONSTORE_SECRET: the folder of a Secret
        app[STORE] = store
        await store.create_collection("items", exist_ok=True, schema={"document": ITEM})
        await store.create_collection("orders", exist_ok=True)
        yield


def make_app() -> web.Application:
    """Return the service."""
    app = web.Application(middlewares=[errors])
    app.add_routes(routes)
    app.cleanup_ctx.append(connection)
    return app


if __name__ == "__main__":
    web.run_app(make_app(), port=int(os.environ.get("PORT", "8080")))
