"""The CustomResourceDefinition on a real API server: schema, rules in CEL and defaults against the parser.

Transitions, which the parser does not see, are in the scenario `the-api-server-judges-every-transition`.

Needs no nodes: a kube-apiserver with its etcd is enough. Installs the definition, creates nothing.

    python -m collectionstore_operator.tests.crd.crd_on_api_server --kubeconfig FILE --examples 300
"""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import click
import yaml
from hypothesis import HealthCheck, given, settings

from collectionstore_operator import crd
from collectionstore_operator.errors import FieldError, InvalidResource
from collectionstore_operator.resource import labels, schema
from collectionstore_operator.resource.desired import Desired, parse
from collectionstore_operator.resource.spec import Spec
from collectionstore_operator.tests.resource.specs import specs

CLUSTERS = f"/apis/{labels.API_VERSION}/namespaces/default/{labels.PLURAL}"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


class Server:
    """One API server, with the credentials of a kubeconfig that names files."""

    def __init__(self, kubeconfig: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.url = cluster["server"]
        self.tls = ssl.create_default_context(cafile=cluster["certificate-authority"])
        self.tls.load_cert_chain(user["client-certificate"], user["client-key"])

    def call(self, method: str, path: str, body: object = None, kind: str = "application/json") -> tuple[int, Any]:
        """Return the status and the decoded answer."""
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.url + path, data, {"Content-Type": kind}, method=method)
        try:
            with urllib.request.urlopen(request, context=self.tls, timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)

    def install(self) -> None:
        """Apply the definition, and return when it is served."""
        name = crd.definition()["metadata"]["name"]
        query = "?fieldManager=check&force=true"
        code, answer = self.call(
            "PATCH", f"{DEFINITIONS}/{name}{query}", crd.definition(), "application/apply-patch+yaml"
        )
        assert code in (200, 201), answer
        while self.call("GET", CLUSTERS)[0] != 200:
            time.sleep(0.2)


def resource(spec: Any, name: str = "demo") -> dict[str, Any]:
    """Return an object with this spec."""
    return {"apiVersion": labels.API_VERSION, "kind": labels.KIND, "metadata": {"name": name}, "spec": spec}


def read(spec: Any) -> tuple[Desired | None, tuple[FieldError, ...]]:
    """Return what the parser makes of a spec, or every fault it finds."""
    try:
        return parse(resource(spec)), ()
    except InvalidResource as error:
        return None, error.errors


def check_agreement(server: Server, examples: int) -> None:
    """Specs that are drawn are accepted by both or refused by both, with the same sentences and the same defaults."""
    counts = {"accepted": 0, "refused by schema": 0, "refused by rules": 0}

    @settings(max_examples=examples, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(specs())
    def agree(spec: Any) -> None:
        code, answer = server.call("POST", f"{CLUSTERS}?dryRun=All&fieldValidation=Strict", resource(spec))
        desired, errors = read(spec)
        if desired is not None:
            assert code == 201, (code, answer["message"], spec)
            assert parse(resource(answer["spec"])).spec == desired.spec
            counts["accepted"] += 1
            return
        assert code in (400, 422), (code, spec, errors)
        if schema.convert(spec if spec is not None else {}, Spec, "spec")[1]:
            counts["refused by schema"] += 1
            return
        counts["refused by rules"] += 1
        for one in errors:
            assert f"{one.message}; allowed: {one.allowed}" in answer["message"], (one, answer["message"])

    agree()
    click.echo(f"agreement: {counts}")


def check_names(server: Server) -> None:
    """Names that do not fit into the names made of them are refused."""
    for name in ("a" * 41, "1demo", "demo.shop", "Demo", "demo-"):
        code, answer = server.call("POST", f"{CLUSTERS}?dryRun=All", resource({}, name))
        assert code == 422, name
        click.echo(f"name {name[:12]}: {answer['message']}")


@click.command()
@click.option("--kubeconfig", type=click.Path(path_type=Path, exists=True), required=True, help="Names files only.")
@click.option("--examples", default=300, show_default=True, help="How many specs are drawn.")
def main(kubeconfig: Path, examples: int) -> None:
    """Install the definition on an API server and compare what it refuses with what the operator would."""
    server = Server(kubeconfig)
    server.install()
    check_names(server)
    check_agreement(server, examples)


if __name__ == "__main__":
    main()
