"""Users, roles, tokens and the mode, against a real engine."""

from __future__ import annotations

from pathlib import Path

from collectionstore.tests.data.running import Csctl


def test_users_roles_and_tokens(csctl: Csctl, books: str, tmp_path: Path) -> None:
    csctl.ok(
        "role", "put", "readers", "--allow", "read,watch", "--collections", books, "-w", "year>1900", "-f", "title"
    )
    shown = csctl.ok("role", "get", "readers").json["rules"]
    assert shown == [
        {
            "effect": "allow",
            "verbs": ["read", "watch"],
            "collections": [books],
            "filter": {"year": {"$gt": 1900}},
            "fields": {"show": ["title"]},
        }
    ]
    assert "(some documents, some fields)" in csctl.ok("role", "list").out
    csctl.ok("user", "create", "ada", "--role", "readers", "--description", "Ada")
    assert csctl("user", "create", "ada").code == 13
    csctl.ok("user", "change", "ada", "--add-role", "monitor", "--remove-role", "readers", "--disable")
    found = csctl.ok("user", "get", "ada").json
    assert (found["roles"], found["disabled"], found["description"]) == (["monitor"], True, "Ada")
    assert csctl.ok("user", "list").lines[1].split() == ["ada", "monitor", "yes", "Ada"]

    made = csctl.ok("token", "create", "ada", "--ttl", "1d")
    assert made.out.startswith("cst_")
    assert made.out.strip() not in made.err
    csctl.ok("token", "create", "ada", "--file", str(tmp_path / "token"))
    assert (tmp_path / "token").stat().st_mode & 0o777 == 0o600
    secret = (tmp_path / "token").read_text()
    assert csctl("token", "create", "ada", "--file", str(tmp_path / "token")).code == 2
    assert (tmp_path / "token").read_text() == secret
    listed = csctl.ok("token", "list", "--user", "ada", "-o", "json").json
    assert len(listed) == 2
    assert secret.strip() not in str(listed)
    other = csctl.ok("token", "rotate", listed[0]["id"], "--file", str(tmp_path / "next"))
    assert "cst_" not in other.out + other.err
    assert csctl("token", "revoke", listed[0]["id"]).code == 2
    csctl.ok("token", "revoke", *(one["id"] for one in listed), "--yes")
    assert csctl.ok("token", "list").err == "There are no tokens.\n"

    assert csctl("user", "delete", "ada").code == 2
    csctl.ok("user", "delete", "ada", "--yes")
    csctl.ok("role", "delete", "readers", "--yes")
    assert csctl("user", "get", "ada").code == 5


def test_wrong_roles_and_users(csctl: Csctl) -> None:
    assert csctl("role", "put", "x").code == 2
    assert csctl("role", "put", "x", "{}", "--allow", "read").code == 2
    assert csctl("role", "put", "x", "--allow", "fly", "--collections", "a").code == 3
    assert csctl("role", "delete", "reader", "--yes").code in (3, 13)
    assert csctl("user", "create", "a b").code == 3
    assert csctl("user", "create", "eve", "--role", "nope").code in (3, 5)
    assert csctl("user", "password", "ada", stdin="x").code == 2
    assert csctl("token", "create", "nope").code in (3, 5)
    assert csctl("token", "revoke", "zzz", "--yes").code in (3, 5)


def test_whoami_and_the_mode(csctl: Csctl) -> None:
    assert csctl.ok("whoami", "-o", "json").json["mode"] == "Disabled"
    assert "access control" in csctl.ok("whoami").out
    assert csctl("access", "mode", "Permissive").code == 2
    csctl.ok("access", "mode", "Permissive", "--yes")
    csctl.ok("access", "set", '{"session_s": 600}', "--yes")
    found = csctl.ok("access", "get").json
    assert (found["mode"], found["session_s"]) == ("Permissive", 600)
    csctl.ok("access", "mode", "Disabled", "--yes")
    assert csctl("access", "set", '{"nonsense": 1}', "--yes").code == 3


def test_a_login_needs_a_context_and_a_terminal_or_stdin(csctl: Csctl) -> None:
    assert "--save NAME" in csctl("login", "ada", "--password-stdin", stdin="x\n").err
    assert csctl("logout").code == 2
    csctl.ok("context", "set", "here", "--url", csctl.url)
    assert "no terminal" in csctl("login", "ada", "--context", "here", stdin="").err
    assert "name the user" in csctl("login", "--context", "here", stdin="").err
    outcome = csctl("login", "ada", "--context", "here", "--password-stdin", stdin="hunter2-sekrit\n")
    assert outcome.code != 0
    assert "sekrit" not in outcome.out + outcome.err
