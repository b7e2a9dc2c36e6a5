"""The test of an installation: write and read over TLS through the Service for clients. Needs Python alone.

Exits with 0 when all of it was true; otherwise the last line says what was not.
"""

import http.client
import json
import os
import secrets
import ssl
import sys
import time

HOST, _, PORT = os.environ["SERVICE"].rpartition(":")
DEADLINE = time.monotonic() + float(os.environ["TIMEOUT_SECONDS"])
TRUSTED = ssl.create_default_context(cafile=os.environ["TRUST"])
TOKEN = os.environ.get("TOKEN")
REQUEST_S = 10
PAUSE_S = 1


def once(method: str, path: str, document: object = None) -> tuple[int, dict[str, object]]:
    """Send one request over a connection of its own, so that any member may get it; return status and answer."""
    body = None if document is None else json.dumps(document)
    connection = http.client.HTTPSConnection(HOST, int(PORT), timeout=REQUEST_S, context=TRUSTED)
    try:
        headers = {"Content-Type": "application/json"} if body else {}
        if TOKEN:
            with open(TOKEN) as file:
                headers["Authorization"] = f"Bearer {file.read().strip()}"
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"{}")
    finally:
        connection.close()


def expect(statuses: set[int], method: str, path: str, document: object = None) -> dict[str, object]:
    """Send a request until it is answered as expected; those that the store did not take are sent again."""
    while True:
        try:
            status, answer = once(method, path, document)
            found = f"{status} {answer}"
            if status in statuses:
                print(f"{method} {path}: {status}", flush=True)
                return answer
            if status < 500:
                sys.exit(f"{method} {path}: {found}; expected {sorted(statuses)}")
        except ssl.SSLCertVerificationError as error:
            sys.exit(f"{method} {path}: the server's certificate is refused: {error}")
        except (OSError, http.client.HTTPException) as error:
            found = f"{type(error).__name__}: {error}"
        if time.monotonic() > DEADLINE:
            sys.exit(f"{method} {path}: no answer in time; the last was {found}")
        time.sleep(PAUSE_S)


def refuse_without_trust() -> None:
    """Check that a client which does not trust the cluster's authority is not let on: that it is TLS indeed."""
    connection = http.client.HTTPSConnection(
        HOST, int(PORT), timeout=REQUEST_S, context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    )
    try:
        connection.connect()
    except ssl.SSLCertVerificationError:
        print("a client without the cluster's ca.crt does not trust it", flush=True)
        return
    finally:
        connection.close()
    sys.exit("the certificate was accepted without the cluster's ca.crt")


def main() -> None:
    """Write, read through several members, delete, and leave nothing behind."""
    collection = f"/api/v1/collections/helm-test-{secrets.token_hex(4)}"
    document = {"title": "Dune", "proof": secrets.token_hex(8)}
    expect({200, 201}, "PUT", collection)
    expect({200, 201}, "PUT", f"{collection}/documents/dune", document)
    for _ in range(5):
        found = expect({200}, "GET", f"{collection}/documents/dune")
        if found != document:
            sys.exit(f"another document was read than written: {found}")
    refuse_without_trust()
    # 404: an earlier attempt was done though its answer was lost.
    expect({200, 404}, "DELETE", collection)
    expect({404}, "GET", f"{collection}/documents/dune")
    print("written, read and deleted over TLS", flush=True)


if __name__ == "__main__":
    main()
