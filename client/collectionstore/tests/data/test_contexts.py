"""csctl context, and which cluster a command goes to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from collectionstore.contexts import file
from collectionstore.tests.data.running import Csctl


def test_contexts_are_set_used_and_deleted(csctl: Csctl, books: str) -> None:
    assert csctl.ok("context", "list").err.startswith("There is no context")
    assert "It is the current one" in csctl.ok("context", "set", "here", "--url", csctl.url).out
    csctl.ok("context", "set", "there", "--url", "http://127.0.0.1:1", "--user", "ada")
    listed = csctl.ok("context", "list", "-o", "json").json
    assert [(one["name"], one["current"]) for one in listed] == [("here", True), ("there", False)]

    nowhere = {"COLLECTIONSTORE_URL": None}
    assert csctl("count", books, env=nowhere).out == "3\n"
    assert csctl("count", books, "--context", "there", "--timeout", "100ms", env=nowhere).code == 14
    assert csctl("count", books, env={**nowhere, "COLLECTIONSTORE_CONTEXT": "there"}).code == 14
    assert csctl("count", books, "--context", "here", env={"COLLECTIONSTORE_URL": "http://127.0.0.1:1"}).out == "3\n"
    csctl.ok("context", "use", "there")
    assert csctl.ok("context", "show", "-o", "json").json["name"] == "there"
    assert csctl("context", "delete", "there").code == 2
    csctl.ok("context", "delete", "there", "--yes")
    assert csctl("context", "use", "there").code == 5
    assert csctl("count", books, env={**nowhere, "COLLECTIONSTORE_STATE_DIR": "/nowhere"}).code == 5


@pytest.mark.parametrize(
    "words",
    [
        ("new",),
        ("new", "--url", "ftp://x"),
        ("new", "--url", "http://x", "--local"),
        ("new", "--url", "http://x", "-k"),
        ("new", "--url", "http://x", "--cluster", "demo"),
        ("new", "--url", "http://x", "--key", "/etc/hostname"),
        ("new", "--url", "http://x", "--ca", "/nowhere"),
        ("new", "--url", "http://127.0.0.1:1", "--token-stdin"),
    ],
)
def test_wrong_contexts_are_refused(csctl: Csctl, words: tuple[str, ...]) -> None:
    outcome = csctl("context", "set", *words, stdin="")
    assert (outcome.code, outcome.out) == (2, ""), outcome.err
    assert not (csctl.folder / "contexts.json").exists()


def test_a_token_is_kept_and_never_shown(csctl: Csctl, books: str) -> None:
    csctl.ok("context", "set", "here", "--url", csctl.url, "--token-stdin", stdin="cst_sekrit\n")
    for words in (("context", "list"), ("context", "show", "-o", "yaml"), ("context", "set", "here", "--user", "ada")):
        outcome = csctl.ok(*words)
        assert "sekrit" not in outcome.out + outcome.err
    stored = file.read(csctl.folder / "contexts.json").context("here")
    assert (stored.token, stored.user) == ("cst_sekrit", "ada")
    # The token of one cluster is not sent to another one.
    csctl.ok("context", "set", "here", "--url", "http://127.0.0.1:1")
    assert file.read(csctl.folder / "contexts.json").context("here").token == ""


def test_a_token_that_cannot_be_sent_is_refused_without_being_shown(csctl: Csctl, books: str) -> None:
    csctl.ok("context", "set", "here", "--url", csctl.url, "--token-stdin", stdin="sek\x7frit söme\n")
    outcome = csctl("count", books, "--context", "here")
    assert (outcome.code, "rit" in outcome.err) == (2, False), outcome.err
    csctl.ok("context", "set", "far", "--url", "http://store.example.org", "--token-stdin", stdin="sekrit\n")
    plain = csctl("count", books, "--context", "far")
    assert (plain.code, "TLS" in plain.err, "sekrit" in plain.err) == (2, True, False), plain.err


def test_a_login_that_has_ended_is_told(csctl: Csctl, books: str) -> None:
    csctl.ok("context", "set", "here", "--url", csctl.url)
    path = csctl.folder / "contexts.json"
    content = json.loads(path.read_bytes())
    content["contexts"]["here"] |= {"token": "sekrit", "token_expires": 1.0}
    path.write_text(json.dumps(content))
    outcome = csctl("count", books, "--context", "here")
    assert (outcome.code, "csctl login" in outcome.err) == (11, True)


def test_a_file_that_others_read_is_refused(csctl: Csctl, books: str) -> None:
    csctl.ok("context", "set", "here", "--url", csctl.url)
    (csctl.folder / "contexts.json").chmod(0o644)
    assert csctl("count", books, "--context", "here").code == 7
    assert csctl("context", "list").code == 7


def test_a_local_cluster_by_its_state_folder(csctl: Csctl, books: str, tmp_path: Path) -> None:
    node = tmp_path / "state" / "demo" / "nodes" / "demo-0"
    node.mkdir(parents=True)
    launch = {"launch": {"settings": {"COLLECTIONSTORE_CLIENT_ADVERTISE": csctl.url}}}
    (node / "process.json").write_text(json.dumps(launch))
    folder = ("--state-dir", str(tmp_path / "state"))
    assert csctl("count", books, "--local", *folder, env={"COLLECTIONSTORE_URL": None}).out == "3\n"
    assert csctl("count", books, "--local", "--cluster", "other", *folder).code == 2
    csctl.ok("context", "set", "lap", "--local", *folder)
    assert csctl("count", books, "--context", "lap").out == "3\n"
