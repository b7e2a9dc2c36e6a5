"""Everything the charts render is valid: for Helm's lint, for Kubernetes, and for our own definition."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from collectionstore_charts.helm import CHARTS, CLUSTER, OPERATOR, helm, template

REPOSITORY = CHARTS.parent
VERSIONS = ("1.31.0", "1.34.0", "1.37.0")
"""The oldest that the charts allow, the one of the end-to-end tests, the newest there is a schema of."""
OURS = "CollectionStoreCluster"
DEFINED = (OURS, "CollectionStoreUser", "CollectionStoreRole")
"""Custom resources that are checked against our definitions."""
WITHOUT_SCHEMA = ("PodMonitor", "PrometheusRule")
"""Those of others, which have tests of their own."""
RENDERED = [(chart, path) for chart in (OPERATOR, CLUSTER) for path in sorted((chart / "ci").glob("*.yaml"))]


def name(value: object) -> str:
    return f"{value.parents[1].name}/{value.stem}" if isinstance(value, Path) and value.suffix else ""


def check(objects: list[dict[str, Any]]) -> None:
    """Check objects against the schemas of Kubernetes; fields that it does not know are errors."""
    for one in objects:
        if one["kind"] in DEFINED:
            jsonschema.validate(one["spec"], strict(our_schema(one["kind"])))
        elif one["kind"] not in WITHOUT_SCHEMA:
            for version in VERSIONS:
                kubernetes_validate.validate(one, version, strict=one["kind"] != "CustomResourceDefinition")


def our_schema(kind: str = OURS) -> dict[str, Any]:
    path = REPOSITORY / "crds" / f"{kind.lower()}s.collectionstore.io.yaml"
    definition = yaml.safe_load(path.read_text())
    found: dict[str, Any] = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return found


def strict(schema: Any) -> Any:
    """Return a schema that refuses unknown fields, as the API server does when it is asked to be strict."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    if made.get("type") == "object" and isinstance(made.get("properties"), dict):
        made.setdefault("additionalProperties", False)
    return made


def manifests(path: Path) -> list[dict[str, Any]]:
    return [one for one in yaml.safe_load_all(path.read_text()) if one]


@pytest.mark.parametrize(("chart", "values"), RENDERED, ids=name)
def test_the_chart_is_lint_free(chart: Path, values: Path) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", chart, "--values", values)


@pytest.mark.parametrize(("chart", "values"), RENDERED, ids=name)
def test_what_is_rendered_is_valid_and_no_object_comes_twice(chart: Path, values: Path) -> None:
    objects = template(chart, files=(values,))
    assert objects
    check(objects)
    names = {(one["kind"], one["metadata"].get("namespace"), one["metadata"]["name"]) for one in objects}
    assert len(names) == len(objects)


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "examples" / "kubernetes").glob("*.yaml")), ids=lambda one: one.stem
)
def test_every_example_is_valid(path: Path) -> None:
    check(manifests(path))


def test_the_manifest_for_kubectl_is_valid_and_has_a_restricted_namespace() -> None:
    objects = manifests(REPOSITORY / "install" / "operator.yaml")
    check(objects)
    namespace = objects[0]
    assert namespace["kind"] == "Namespace"
    assert namespace["metadata"]["labels"] == {"pod-security.kubernetes.io/enforce": "restricted"}
    inside = {one["metadata"]["namespace"] for one in objects if "namespace" in one["metadata"]}
    assert inside == {namespace["metadata"]["name"]}


def test_deleting_by_the_selector_of_that_manifest_spares_the_definition_and_the_namespace() -> None:
    spared = [
        one["kind"]
        for one in manifests(REPOSITORY / "install" / "operator.yaml")
        if one["metadata"].get("labels", {}).get("app.kubernetes.io/part-of") != "collectionstore"
    ]
    assert sorted(spared) == [*["CustomResourceDefinition"] * 5, "Namespace"]


def test_an_unknown_field_would_be_noticed() -> None:
    (broken,) = [one for one in template(OPERATOR) if one["kind"] == "Deployment"]
    broken["spec"]["template"]["spec"]["containers"][0]["imagePolicy"] = "Always"
    with pytest.raises(kubernetes_validate.ValidationError):
        check([broken])
    with pytest.raises(jsonschema.ValidationError):
        check([{"kind": OURS, "spec": {"replicas": 3, "size": 1}}])
