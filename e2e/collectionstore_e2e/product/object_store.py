"""An S3 server on the host of `make kube-up`, with accounts: pods reach it, and wrong credentials are refused."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import boto3  # type: ignore[import-untyped]

from collectionstore_e2e.harness.context import Context
from collectionstore_e2e.harness.kinds import SECRET
from collectionstore_e2e.kube.places import API_SERVER

BUCKET: Final = "backups"
REGION: Final = "us-east-1"
SETUP_ACTIONS: Final = 4
"""Requests that need no account: those that make the bucket and the account."""
START_S: Final = 60.0
AGAIN_S: Final = 0.2
_POLICY: Final = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'


@dataclass(frozen=True, slots=True)
class ObjectStore:
    """A running server with one bucket and one account."""

    endpoint: str
    key_id: str
    secret: str

    def repository(self, secret: str, path: str = "demo") -> dict[str, Any]:
        """Return the field of a resource that names a path in the bucket; `secret` holds the credentials."""
        return {
            "url": f"s3://{BUCKET}/{path}",
            "options": {"endpoint": self.endpoint, "region": REGION},
            "credentialsSecretName": secret,
        }

    async def keys(self, path: str) -> list[str]:
        """Return the names of all objects below a path."""
        return await asyncio.to_thread(self._keys, path)

    def _keys(self, path: str) -> list[str]:
        pages = self._client("s3").get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{path}/")
        return [one["Key"] for page in pages for one in page.get("Contents", ())]

    def _client(self, service: str) -> Any:
        return boto3.client(
            service,
            endpoint_url=self.endpoint,
            region_name=REGION,
            aws_access_key_id=self.key_id,
            aws_secret_access_key=self.secret,
        )


@asynccontextmanager
async def object_store(context: Context, secret: str = "store") -> AsyncIterator[ObjectStore]:
    """Run a server for the duration of the block; its credentials are in a Secret of the scenario's namespace."""
    address, port = _address()
    environment = {**os.environ, "INITIAL_NO_AUTH_ACTION_COUNT": str(SETUP_ACTIONS)}
    command = [sys.executable, "-m", "moto.server", "-H", address, "-p", str(port)]
    nowhere = asyncio.subprocess.DEVNULL
    server = await asyncio.create_subprocess_exec(*command, env=environment, stdout=nowhere, stderr=nowhere)
    try:
        made = await _with_account(f"http://{address}:{port}", server)
        await credentials(context, secret, made.key_id, made.secret)
        yield made
    finally:
        if server.returncode is None:
            server.terminate()
        await server.wait()


async def credentials(context: Context, name: str, key_id: str, secret: str) -> None:
    """Put credentials of the store into a Secret."""
    await context.client.apply(
        {
            "apiVersion": SECRET.api_version,
            "kind": SECRET.name,
            "metadata": {"name": name},
            "stringData": {"AWS_ACCESS_KEY_ID": key_id, "AWS_SECRET_ACCESS_KEY": secret},
        }
    )


async def _with_account(endpoint: str, server: asyncio.subprocess.Process) -> ObjectStore:
    host, _, port = endpoint.removeprefix("http://").partition(":")
    async with asyncio.timeout(START_S):
        while True:
            try:
                _, writer = await asyncio.open_connection(host, int(port))
            except OSError:
                assert server.returncode is None, "the S3 server ended"
                await asyncio.sleep(AGAIN_S)  # another process starts
            else:
                writer.close()
                break
    anyone = ObjectStore(endpoint, "setup", "setup")
    return await asyncio.to_thread(_make_account, anyone)


def _make_account(anyone: ObjectStore) -> ObjectStore:
    anyone._client("s3").create_bucket(Bucket=BUCKET)
    accounts = anyone._client("iam")
    accounts.create_user(UserName="backup")
    accounts.put_user_policy(UserName="backup", PolicyName="all", PolicyDocument=_POLICY)
    key = accounts.create_access_key(UserName="backup")["AccessKey"]
    return ObjectStore(anyone.endpoint, key["AccessKeyId"], key["SecretAccessKey"])


def _address() -> tuple[str, int]:
    """Return the address by which the machines reach the host, and a free port of it."""
    host = API_SERVER.removeprefix("https://").partition(":")[0]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((host, 9))  # sends nothing: it chooses the interface
        address = str(probe.getsockname()[0])
    with socket.socket() as taken:
        taken.bind((address, 0))
        return address, int(taken.getsockname()[1])
