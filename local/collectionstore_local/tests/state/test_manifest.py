"""An invalid manifest is refused with file, line, field path and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from collectionstore_local.state.manifest import ManifestInvalid, load

GOOD = """\
apiVersion: collectionstore.io/v1alpha1
kind: CollectionStoreCluster
metadata:
  name: demo
spec:
  replicas: 3
  tls:
    client: Disabled
"""


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "cluster.yaml"
    file.write_text(text)
    return file


def test_good_manifest_is_read(tmp_path: Path) -> None:
    """The content as written and as parsed are both kept."""
    manifest = load(write(tmp_path, GOOD))
    assert manifest.desired.name == "demo"
    assert manifest.desired.spec.replicas == 3
    assert manifest.resource["spec"] == {"replicas": 3, "tls": {"client": "Disabled"}}


@pytest.mark.parametrize(
    ("old", "new", "line", "expected"),
    [
        ("replicas: 3", "replicsa: 3", 6, ("spec.replicsa", "did you mean replicas?")),
        ("replicas: 3", "replicas: three", 6, ("spec.replicas", "'three'", "an integer from 1 to 9")),
        ("replicas: 3", "replicas: 4", 6, ("spec.replicas", "3, 5, 7 or 9")),
        ("replicas: 3", "replicas: 3\n  replicas: 5", 6, ("spec.replicas", "lines 6 and 7")),
        ("name: demo", f"name: {'d' * 41}", 4, ("metadata.name", "at most 40 of a-z")),
        ("client: Disabled", "client: Off", 8, ("spec.tls.client", "Disabled or Required")),
        ("kind: CollectionStoreCluster", "kind: Pod", 2, ("kind", "CollectionStoreCluster")),
        ("replicas: 3", "replicas: [3", 7, ("not YAML",)),
        ("replicas: 3", "replicas: !foo 3", 6, ("spec.replicas", "the tag !foo is not allowed", "what JSON has")),
        ("replicas: 3", "replicas: !!int 'x'", 6, ("spec.replicas", "'x' is not of type int")),
        ("replicas: 3", "replicas: !!bool x", 6, ("spec.replicas", "is not of type bool")),
        ("replicas: 3", f"replicas: {'9' * 5_000}", 6, ("spec.replicas", "is not of type int")),
        ("replicas: 3", "replicas: 2024-99-99", 6, ("spec.replicas", "'2024-99-99' is not allowed")),
        ("replicas: 3", "replicas: 2024-01-01", 6, ("spec.replicas", "'2024-01-01' is not allowed")),
        ("replicas: 3", "<<: 5", 6, ("spec['<<']", "merge keys are not allowed")),
        ("replicas: 3", "? [a]\n  : 1", 6, ("a sequence is not allowed as a key",)),
        ("replicas: 3", "? {a: 1}\n  : 1", 6, ("a mapping is not allowed as a key",)),
        ("replicas: 3", "3: 3", 6, ("spec.3", "the key 3 is not a string")),
        ("replicas: 3", "replicas: " + "[" * 3_000, 6, ("nested more than 64 deep",)),
        ("replicas: 3", "replicas: " + "{a: " * 3_000, 6, ("nested more than 64 deep",)),
        ("replicas: 3", 'image: "\\ud800"', 6, ("spec.image", "a lone surrogate is not Unicode text")),
        ("replicas: 3", 'image: "a\\0b"', 6, ("spec.image", "an image such as")),
        ("replicas: 3", '"\\ud800": 1', 6, ("a lone surrogate is not Unicode text",)),
        ("replicas: 3", "storage: {size: '1'}", 6, ("spec.storage.size", "at least 64Mi")),
        ("replicas: 3", "resources: {limits: {memory: 512m}}", 6, ("spec.resources.limits", "whole numbers of bytes")),
        (
            "replicas: 3",
            "resources: {limits: {memory: 1Gi}, requests: {memory: 2Gi}}",
            6,
            ("spec.resources.limits", "a limit is below its request"),
        ),
        ("replicas: 3", "resources: {limits: {cpu: 1}, requests: {cpu: 1001m}}", 6, ("a limit is below its request",)),
    ],
)
def test_fault_is_shown_with_its_place(
    tmp_path: Path, old: str, new: str, line: int, expected: tuple[str, ...]
) -> None:
    """The message has the place, the error and what is allowed."""
    file = write(tmp_path, GOOD.replace(old, new))
    with pytest.raises(ManifestInvalid) as refused:
        load(file)
    text = str(refused.value)
    assert f"{file}:{line}:" in text
    assert "Nothing was started or changed." in text
    for part in expected:
        assert part in text


def test_all_faults_are_shown_at_once(tmp_path: Path) -> None:
    """All errors at once."""
    file = write(tmp_path, GOOD.replace("replicas: 3", "replicas: 4\n  colour: red"))
    with pytest.raises(ManifestInvalid) as refused:
        load(file)
    assert "spec.colour" in str(refused.value)
    assert "Nothing was started or changed." in str(refused.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "0 YAML documents"),
        (f"{GOOD}---\n{GOOD}", "2 CollectionStoreClusters"),
        ("a: &a [*a]\n", r"alias \*a is not allowed"),
        ("- 1\n", "is not an object"),
        ("a: \t\x00", "not YAML"),
    ],
)
def test_file_that_is_not_one_document_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    """Anything but one plain YAML document is an error."""
    with pytest.raises(ManifestInvalid, match=expected):
        load(write(tmp_path, text))


def test_missing_file_is_named(tmp_path: Path) -> None:
    """The error names the file and the system's reason."""
    with pytest.raises(ManifestInvalid, match=r"none\.yaml: No such file"):
        load(tmp_path / "none.yaml")


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.sampled_from("[]{}:?&*!|>-,'\"\\#%@` \n\tax0.~<=\u00e9\U0001f600" + "\0\x85\u2028"), max_size=60))
def test_any_text_is_read_or_refused(tmp_path: Path, text: str) -> None:
    """No text ends in another error, in place of a value too."""
    for content in (text, GOOD.replace("replicas: 3", f"replicas: {text}")):
        refused = _refusal(write(tmp_path, content))
        assert refused is None or refused.endswith("Nothing was started or changed.")


def _refusal(file: Path) -> str | None:
    try:
        load(file)
    except ManifestInvalid as refused:
        return str(refused)
    return None
