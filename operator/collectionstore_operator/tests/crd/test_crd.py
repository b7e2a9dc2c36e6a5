"""The CustomResourceDefinition: up to date, complete, and consistent with the parser."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest
import yaml
from click.testing import CliRunner
from hypothesis import HealthCheck, example, given, settings
from msgspec import Meta

from collectionstore_operator import crd
from collectionstore_operator.crd.__main__ import FILE, main
from collectionstore_operator.crd.openapi import struct_schema
from collectionstore_operator.model.assessment import assess
from collectionstore_operator.resource import schema
from collectionstore_operator.resource.desired import parse
from collectionstore_operator.resource.fields import Part
from collectionstore_operator.resource.rules import KUBERNETES_RULES, RULES
from collectionstore_operator.resource.spec import Local, Spec
from collectionstore_operator.status.published import Status
from collectionstore_operator.status.report import report
from collectionstore_operator.tests.crd.structural import admitted
from collectionstore_operator.tests.planning.pictures import draw, make_desired, planned
from collectionstore_operator.tests.resource.specs import specs

COMMITTED = Path(__file__).parents[4] / FILE


def root() -> dict[str, Any]:
    """Return the schema of the whole object."""
    (version,) = crd.definition()["spec"]["versions"]
    found: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    return found


def test_committed_file_is_current() -> None:
    """The installed schema is that of the parser."""
    assert COMMITTED.read_text() == crd.text(), "run: python -m collectionstore_operator.crd --write"
    assert yaml.safe_load(COMMITTED.read_text()) == crd.definition()


def test_command_writes_and_checks(tmp_path: Path) -> None:
    """An outdated file fails the check, and the message names the command."""
    folder = tmp_path / "crds"
    runner = CliRunner()
    assert runner.invoke(main, ["--folder", str(folder), "--check"]).exit_code == 1
    assert runner.invoke(main, ["--folder", str(folder), "--write"]).exit_code == 0
    assert runner.invoke(main, ["--folder", str(folder), "--check"]).exit_code == 0
    file = folder / FILE.name
    file.write_text(file.read_text() + "\n")
    stale = runner.invoke(main, ["--folder", str(folder), "--check"])
    assert stale.exit_code == 1
    assert "--write" in stale.output
    assert list(yaml.safe_load_all(runner.invoke(main, []).output)) == list(crd.definitions().values())


def test_every_field_is_described_and_bounded() -> None:
    """`kubectl explain` says something everywhere, and the cost of every rule can be estimated."""
    for path, found in _walk(root()):
        if path.startswith((".apiVersion", ".kind", ".metadata")) or not path:
            continue
        assert found.get("description"), path
        if found.get("type") == "array":
            assert "maxItems" in found, path
            assert "x-kubernetes-list-type" in found, path
        if found.get("type") == "string":
            assert "enum" in found or "maxLength" in found, path
        if "additionalProperties" in found:
            assert "maxProperties" in found, path
        if found.get("type") == "integer" and path.startswith(".spec"):
            assert {"minimum", "maximum"} <= found.keys(), path


def _properties(found: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every field below a schema with its name."""
    for name, one in found.get("properties", {}).items():
        yield name, one
        yield from _properties(one)
    if "items" in found:
        yield from _properties(found["items"])


def test_descriptions_begin_with_the_name_of_the_field() -> None:
    """As the Kubernetes API conventions have it, so that `kubectl explain` reads as sentences."""
    resources = {"cpu", "memory", "ephemeral-storage"}
    for part in ("spec", "status"):
        for name, one in _properties(root()["properties"][part]):
            assert name in resources or one["description"].startswith(f"{name} "), f"{part}: {name}"


def test_descriptions_state_the_default_that_the_schema_applies() -> None:
    """Every scalar default is stated, and no other value is."""
    for name, one in _properties(root()["properties"]["spec"]):
        found = re.search(r"Defaults to (\S+?)(?: \(.*\))?\.(?:$| )", one.get("description", ""))
        default = one.get("default")
        if isinstance(default, str | int | bool):
            assert found, f"{name}: the default {default} is not stated"
            assert found[1] == (json.dumps(default) if isinstance(default, bool) else str(default)), name
        elif found:
            # Not applied by the schema, so that it is not written into every object: spec.local.
            local = msgspec.to_builtins(Local())
            assert found[1] == str(local[name]), name


def test_defaults_are_those_of_the_parser() -> None:
    """An object without a spec becomes what the parser makes of it: both are the same desired state."""
    filled, faults = admitted({"metadata": {"name": "demo"}}, root())
    assert faults == []
    assert filled["spec"]["storage"] == {"size": "10Gi", "retention": "Retain"}
    assert "local" not in filled["spec"]
    resource = {"apiVersion": "collectionstore.io/v1alpha1", "kind": "CollectionStoreCluster", **filled}
    assert parse(resource).spec == Spec()


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(specs())
@example({"pod": {"environment": [{"name": "A"}, {"name": "A"}]}})
@example({"pod": {"imagePullSecrets": ["a", "a"]}})
@example({"version": "0.1.0\n"})
@example({"pod": {"labels": {"a": None}}})
@example({"pod": {"labels": {f"k{number}": "" for number in range(33)}}})
@example({"pod": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {}}}}})
@example({"resources": {"limits": {"cpu": 1 << 51}}})
def test_schema_and_parser_accept_the_same(spec: Any) -> None:
    """What the API server admits is parsed with the same defaults; what it rejects is invalid for the parser, too."""
    filled, faults = admitted(spec, struct_schema(Spec))
    converted, errors = schema.convert(spec, Spec, "spec")
    if spec is not None:  # a spec of null is filled in one level further up
        assert bool(faults) == bool(errors), (faults, [str(error) for error in errors])
    if not faults and converted is not None:
        assert schema.convert(filled, Spec, "spec") == (converted, [])


def test_rules_stand_where_their_fields_are() -> None:
    """Every rule of the parser is in the schema, at the struct it is about."""
    schemas = [one["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for one in crd.definitions().values()]
    parts = [part for one in schemas for _, part in _walk(one)]
    found = [rule["rule"] for part in parts for rule in part.get("x-kubernetes-validations", ())]
    for rule in [rule for rules in (*RULES.values(), *KUBERNETES_RULES.values()) for rule in rules]:
        assert rule.cel in found


def test_rules_name_fields_that_exist() -> None:
    """A misspelled one would report an error at a path that does not exist."""
    for struct, rules in (*RULES.items(), *KUBERNETES_RULES.items()):
        names = {field.encode_name for field in msgspec.structs.fields(struct)}
        assert {rule.field for rule in rules} <= names


def test_columns_and_subresources_point_to_fields_that_exist() -> None:
    """A column with a wrong path stays empty without an error."""
    (version,) = crd.definition()["spec"]["versions"]
    paths = [column["jsonPath"] for column in version["additionalPrinterColumns"]]
    paths += version["subresources"]["scale"].values()
    known = {path for path, _ in _walk(root())} | {".metadata.creationTimestamp"}
    for path in paths:
        assert path.replace('[?(@.type=="Ready")]', "[]") in known, path
    names = [(column["name"], column["priority"]) for column in version["additionalPrinterColumns"]]
    assert names == [
        ("Members", 0),
        ("Leader", 0),
        ("Version", 0),
        ("FaultTolerance", 0),
        ("Ready", 0),
        ("Reason", 0),
        ("Age", 0),
        ("ReadReplicas", 1),
        ("Image", 1),
        ("Term", 1),
        ("Configuration", 1),
        ("Certificates", 1),
    ]


def test_status_has_no_defaults() -> None:
    """Status fields are observed; a default would be a false observation."""
    assert not [path for path, found in _walk(root()) if path.startswith(".status") and "default" in found]


def test_status_as_it_is_written_fits_its_schema() -> None:
    """The API server accepts every status that is written."""
    desired = make_desired(5)
    observed = draw("0: leader\n1: voter lag=9000\n2: learner\n3: voter down=9 failure=Image\n7: left", desired)
    status = report(assess(desired, observed), planned(desired, observed), None)
    assert status.members
    assert status.plan
    for one in (status, Status()):
        assert admitted(msgspec.json.decode(msgspec.json.encode(one)), _status())[1] == []


def test_field_that_no_schema_can_say_is_noticed() -> None:
    """When it is added, not when an invalid value is admitted."""

    class Bad(Part, frozen=True):
        ratio: Annotated[float, Meta(description="x")] = 0.5

    with pytest.raises(TypeError, match="no resource field may have the type"):
        struct_schema(Bad)


def test_file_is_small_enough_to_be_applied() -> None:
    """`kubectl apply` keeps a copy in an annotation, and annotations end at 262,144 bytes."""
    assert len(msgspec.json.encode(crd.definition())) < 200_000


def _status() -> dict[str, Any]:
    found: dict[str, Any] = root()["properties"]["status"]
    return found


def _walk(found: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, found
    for name, below in found.get("properties", {}).items():
        yield from _walk(below, f"{path}.{name}")
    if "items" in found:
        yield from _walk(found["items"], f"{path}[]")
    if "additionalProperties" in found:
        yield from _walk(found["additionalProperties"], f"{path}{{}}")
