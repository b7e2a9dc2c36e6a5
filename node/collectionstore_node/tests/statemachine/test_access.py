"""Users, roles, tokens and the access configuration in the replicated state."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from collectionstore_node.access.configuration import AccessConfiguration
from collectionstore_node.access.modes import Mode
from collectionstore_node.access.roles import ALL_RULES_MAX, DEPTH_MAX
from collectionstore_node.access.users import USER_RULES_MAX
from collectionstore_node.errors import InvalidRequest
from collectionstore_node.statemachine.access import (
    NO_ACCESS,
    access_revision,
    find_role,
    find_token,
    find_user,
    read_access,
    read_policy,
    scan_roles,
    scan_tokens,
    scan_users,
    tokens_of,
)
from collectionstore_node.statemachine.access_changes import ROLES_MAX, TOKENS_MAX, USER_TOKENS_MAX, USERS_MAX
from collectionstore_node.statemachine.access_checks import (
    PASSWORD_LANES_MAX,
    PASSWORD_MEMORY_KIB_MAX,
    PASSWORD_TIME_MAX,
    USED_MAX,
)
from collectionstore_node.statemachine.access_commands import (
    AccessAction,
    Asked,
    ConfigureAccess,
    CreateToken,
    DeleteRole,
    DeleteUser,
    PutRole,
    PutUser,
    RevokeToken,
    RotateToken,
    SetPassword,
    UseTokens,
)
from collectionstore_node.statemachine.admissible import CommandLimits, check_command
from collectionstore_node.statemachine.apply import apply_batch
from collectionstore_node.statemachine.commands import (
    Action,
    Code,
    Command,
    CreateCollection,
    Idempotency,
    KeyRef,
    Outcome,
    Put,
    decode_batch,
    decode_command,
    encode_batch,
    encode_command,
    level_needed,
    refused_part,
    rotated,
)
from collectionstore_node.statemachine.digest import read_digest
from collectionstore_node.statemachine.header import Header, read_header
from collectionstore_node.statemachine.keys import HEADER_KEY
from collectionstore_node.statemachine.levels import CHANGES, ENGINE
from collectionstore_node.statemachine.reads import get_key
from collectionstore_node.statemachine.view import Overlay
from collectionstore_node.tests.statemachine.memory_view import MemoryView

DIGEST, OTHER_DIGEST = b"d" * 32, b"e" * 32
HASH = "$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA"
OPERATOR = Asked("demo-operator", ("operator",))
TOKEN = "0123456789abcdef"
PUT = Put(KeyRef("b", "k"), b"v")


def body(**given: object) -> bytes:
    return json.dumps(given, separators=(",", ":")).encode()


ADMIN, READER = body(roles=["admin"]), body(roles=["reader"])
ENFORCED = body(mode="Enforced")


def rule(*verbs: str, **given: object) -> dict[str, object]:
    return {"verbs": list(verbs), **given}


@pytest.fixture
def view() -> MemoryView:
    return MemoryView()


@pytest.fixture
def run(view: MemoryView) -> Callable[..., list[Outcome]]:
    def apply(*actions: Action | Command, level: int = CHANGES) -> list[Outcome]:
        overlay = Overlay(view)
        commands = [action if isinstance(action, Command) else Command(action) for action in actions]
        outcomes = apply_batch(overlay, encode_batch(1_000, commands, level), b"")
        view.commit(overlay.writes)
        return outcomes

    return apply


Run = Callable[..., list[Outcome]]


def codes(outcomes: list[Outcome]) -> list[Code]:
    return [one.code for one in outcomes]


@pytest.fixture
def enforced(run: Run) -> Run:
    """A store whose only administrator is `root`, with a token and no password."""
    made = run(
        PutUser("root", ADMIN),
        CreateToken(TOKEN, "root", DIGEST, 1_000),
        PutUser("ada", READER),
        ConfigureAccess(ENFORCED),
    )
    assert codes(made) == [Code.OK] * 4
    return run


# Users


def test_a_user_is_created_replaced_and_deleted_with_its_tokens(run: Run, view: MemoryView) -> None:
    created, token, replaced = run(
        PutUser("ada", READER), CreateToken(TOKEN, "ada", DIGEST, 1_000), PutUser("ada", body(roles=["writer"]))
    )
    assert (created.code, created.created, replaced.code, replaced.created) == (Code.OK, True, Code.OK, False)
    assert token.created
    user = find_user(view, "ada")
    assert user is not None
    assert (user.roles, user.created_revision, user.revision) == (("writer",), 1, 3)
    assert read_access(view) == NO_ACCESS.__class__(users=1, tokens=1)
    (deleted,) = run(DeleteUser("ada"))
    assert deleted.code is Code.OK
    assert not [*scan_users(view), *scan_tokens(view), *tokens_of(view, "ada")]
    assert (read_access(view).users, read_access(view).tokens) == (0, 0)
    assert codes(run(DeleteUser("ada"))) == [Code.USER_NOT_FOUND]


def test_a_password_is_set_and_stays_when_a_user_is_replaced(run: Run, view: MemoryView) -> None:
    assert codes(run(SetPassword("ada", HASH))) == [Code.USER_NOT_FOUND]
    run(PutUser("ada", READER), SetPassword("ada", HASH), PutUser("ada", ADMIN))
    user = find_user(view, "ada")
    assert user is not None
    assert (user.password, user.password_revision, user.revision) == (HASH, 3, 4)
    assert codes(run(SetPassword("ada", "", expected=3), SetPassword("ada", "", expected=4))) == [
        Code.PRECONDITION_FAILED,
        Code.OK,
    ]
    user = find_user(view, "ada")
    assert user is not None
    assert user.password == ""


@pytest.mark.parametrize(
    "encoded",
    [
        "secret",
        "$argon2i$v=19$m=65536,t=3,p=4$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaA",
        HASH.replace("m=65536", f"m={PASSWORD_MEMORY_KIB_MAX + 1}"),
        HASH.replace("t=3", f"t={PASSWORD_TIME_MAX + 1}"),
        HASH.replace("p=4", f"p={PASSWORD_LANES_MAX + 1}"),
        HASH.replace("t=3", "t=0"),
        HASH + "$",
        HASH + "a" * 256,
        HASH.replace("aGFz", "aG\nz"),
    ],
)
def test_what_is_no_hash_of_a_password_is_refused(run: Run, encoded: str) -> None:
    """A hash says what checking it costs: no request of a stranger may cost a gigabyte."""
    run(PutUser("ada", READER))
    assert codes(run(SetPassword("ada", encoded))) == [Code.ACCESS_INVALID]
    with pytest.raises(InvalidRequest):
        check_command(Command(SetPassword("ada", encoded)), CommandLimits())


def test_a_user_whose_name_has_a_colon_has_no_password(run: Run) -> None:
    name = "system:serviceaccount:shop:web"
    assert codes(run(PutUser(name, READER), SetPassword(name, HASH))) == [Code.OK, Code.ACCESS_INVALID]


def test_preconditions_are_the_revision_of_the_last_change(run: Run) -> None:
    for made, again, late, new in (
        (PutUser("a", READER, 0), PutUser("a", READER, 0), PutUser("a", READER, 9), PutUser("a", READER, 1)),
        (PutRole("a", b"{}", 0), PutRole("a", b"{}", 0), DeleteRole("a", 99), DeleteRole("a", 5)),
    ):
        outcomes = run(made, again, late, new)
        assert codes(outcomes) == [Code.OK, Code.PRECONDITION_FAILED, Code.PRECONDITION_FAILED, Code.OK]
        assert outcomes[1].current_revision == outcomes[0].revision
    assert codes(run(ConfigureAccess(body(mode="Permissive"), 0), ConfigureAccess(body(mode="Disabled"), 3))) == [
        Code.OK,
        Code.PRECONDITION_FAILED,
    ]


def test_a_user_has_roles_that_exist(run: Run) -> None:
    (outcome,) = run(PutUser("ada", body(roles=["reader", "nowhere"])))
    assert outcome.code is Code.ACCESS_UNKNOWN
    assert refused_part(outcome) == ("/roles/1", "nowhere")


# Roles


def test_a_role_inherits_what_exists_and_not_itself(run: Run) -> None:
    run(PutRole("a", body(inherits=["reader"])), PutRole("b", body(inherits=["a"])))
    cases = (
        (PutRole("c", body(inherits=["a", "nowhere"])), Code.ACCESS_UNKNOWN, ("/inherits/1", "nowhere")),
        (PutRole("c", body(inherits=["c"])), Code.ROLE_CIRCULAR, ("/inherits/0", "c")),
        (PutRole("a", body(inherits=["reader", "b"])), Code.ROLE_CIRCULAR, ("/inherits/1", "b")),
    )
    for action, code, part in cases:
        (outcome,) = run(action)
        assert (outcome.code, refused_part(outcome)) == (code, part)


def test_chains_of_roles_are_bounded_from_both_ends(run: Run) -> None:
    chain = [PutRole("r0", b"{}")]
    chain += [PutRole(f"r{at}", body(inherits=[f"r{at - 1}"])) for at in range(1, DEPTH_MAX)]
    assert codes(run(*chain)) == [Code.OK] * DEPTH_MAX
    (longer, under, beside) = run(
        PutRole("top", body(inherits=[f"r{DEPTH_MAX - 1}"])),
        PutRole("r0", body(inherits=["reader"])),
        PutRole("side", body(inherits=["r0", "r1"])),
    )
    assert codes([longer, under, beside]) == [Code.ACCESS_FULL, Code.ACCESS_FULL, Code.OK]
    assert refused_part(under).pointer == "/inherits"


def test_the_rules_of_a_role_and_all_that_it_inherits_are_bounded(run: Run) -> None:
    many = body(rules=[rule("read", buckets=["b"])] * 64)
    assert ALL_RULES_MAX == 2 * 64
    assert codes(run(*(PutRole(f"r{at}", many) for at in range(3)))) == [Code.OK] * 3
    outcomes = run(
        PutRole("two", body(inherits=["r0", "r1"])),
        PutRole("three", body(inherits=["two", "r2"])),
        PutRole("r0", many),
        PutRole("same", body(inherits=["two"])),
        # Not by itself: by what roles that inherit it have then.
        PutRole("r1", body(rules=[rule("read", buckets=["b"])] * 63, inherits=["monitor", "backup"])),
        PutRole("two", body(inherits=["r0", "r1"], rules=[rule("read", buckets=["b"])])),
    )
    assert codes(outcomes) == [Code.OK, Code.ACCESS_FULL, Code.OK, Code.OK, Code.ACCESS_FULL, Code.ACCESS_FULL]
    assert {refused_part(outcomes[at]).pointer for at in (1, 4, 5)} == {"/rules"}


def test_the_rules_of_a_user_are_bounded(run: Run) -> None:
    many = body(rules=[rule("read", buckets=["b"])] * 64)
    names = [f"r{at}" for at in range(USER_RULES_MAX // 64 + 1)]
    run(*(PutRole(name, many) for name in names))
    run(PutRole("two", body(inherits=names[-2:])))
    outcomes = run(
        PutUser("ada", body(roles=names[:-1])),
        PutUser("bob", body(roles=[*names[:-2], "two"])),
    )
    assert codes(outcomes) == [Code.OK, Code.ACCESS_FULL]
    assert refused_part(outcomes[1]).pointer == "/roles"


def test_a_role_names_collections_that_exist_unless_it_may_create_or_denies(run: Run, view: MemoryView) -> None:
    run(CreateCollection("there"))
    missing = [rule("read", collections=["there", "gone"])]
    cases = (
        (PutRole("r", body(rules=missing)), Code.ACCESS_UNKNOWN),
        (PutRole("r", body(rules=missing), missing=True), Code.OK),
        (PutRole("r", body(rules=[rule("read", "create", collections=["gone"])])), Code.OK),
        (PutRole("r", body(rules=[rule("*", collections=["gone"])])), Code.OK),
        (PutRole("r", body(rules=[rule("read", collections=["gone*"])])), Code.OK),
        (PutRole("r", body(rules=[rule("read", collections=["gone"], effect="deny")])), Code.OK),
        (PutRole("r", body(rules=[rule("read", buckets=["gone"])])), Code.OK),
    )
    for action, code in cases:
        (outcome,) = run(action)
        assert outcome.code is code, action
        if code is Code.ACCESS_UNKNOWN:
            assert refused_part(outcome) == ("/rules/0/collections/1", "gone")
    # One that is created before it, in the same entry.
    assert codes(run(CreateCollection("gone"), PutRole("r", body(rules=missing)))) == [Code.OK, Code.OK]
    assert [name for name, _ in scan_roles(view)] == ["r"]


def test_a_role_that_is_named_is_not_deleted(run: Run) -> None:
    run(PutRole("r", b"{}"), PutRole("s", body(inherits=["r"])))
    assert refused_part(run(DeleteRole("r"))[0]) == ("role", "s")
    run(PutRole("s", b"{}"), PutUser("ada", body(roles=["r"])))
    assert refused_part(run(DeleteRole("r"))[0]) == ("user", "ada")
    run(PutUser("ada", b"{}"), ConfigureAccess(body(mode="Permissive", anonymous_roles=["r"])))
    assert refused_part(run(DeleteRole("r"))[0]) == ("configuration", "/anonymous_roles/0")
    assert codes(run(ConfigureAccess(body(mode="Permissive")), DeleteRole("r"), DeleteRole("r"))) == [
        Code.OK,
        Code.OK,
        Code.ROLE_NOT_FOUND,
    ]


@pytest.mark.parametrize("name", ["admin", "operator", "reader", "No", ""])
def test_roles_that_are_built_in_are_not_changed(run: Run, name: str) -> None:
    assert codes(run(PutRole(name, b"{}"), DeleteRole(name))) == [Code.ACCESS_INVALID] * 2


# Tokens


def test_a_token_is_rotated_with_an_overlap_and_revoked(run: Run, view: MemoryView) -> None:
    run(PutUser("ada", READER), CreateToken(TOKEN, "ada", DIGEST, 1_000, 9_000, "ci"))
    token = find_token(view, TOKEN)
    assert token is not None
    assert [token.accepted_until(DIGEST, now) for now in (0, 8_999, 9_000)] == [9_000, 9_000, None]
    assert token.accepted_until(OTHER_DIGEST, 0) is None

    (outcome,) = run(RotateToken(TOKEN, OTHER_DIGEST, 5_000, 20_000))

    assert rotated(outcome) == ("ada", 20_000, 5_000)
    token = find_token(view, TOKEN)
    assert token is not None
    assert [token.accepted_until(DIGEST, now) for now in (0, 4_999, 5_000)] == [5_000, 5_000, None]
    assert token.accepted_until(OTHER_DIGEST, 5_000) == 20_000
    assert token.accepted_until(b"x" * 32, 0) is None
    assert codes(run(RevokeToken(TOKEN), RevokeToken(TOKEN), RotateToken(TOKEN, DIGEST, 0))) == [
        Code.OK,
        Code.TOKEN_NOT_FOUND,
        Code.TOKEN_NOT_FOUND,
    ]
    assert tokens_of(view, "ada") == []


def test_the_secret_before_ends_no_later_than_it_did(run: Run, view: MemoryView) -> None:
    run(PutUser("ada", READER), CreateToken(TOKEN, "ada", DIGEST, 1_000, 2_000))
    (outcome,) = run(RotateToken(TOKEN, OTHER_DIGEST, 50_000, 0))
    assert rotated(outcome) == ("ada", 0, 2_000)
    (outcome,) = run(RotateToken(TOKEN, DIGEST, 50_000))
    assert rotated(outcome) == ("ada", 0, 50_000)
    token = find_token(view, TOKEN)
    assert token is not None
    assert token.accepted_until(DIGEST, 1 << 50) == 0


def test_a_token_needs_a_user_and_an_id_of_its_own(run: Run) -> None:
    assert codes(run(CreateToken(TOKEN, "ada", DIGEST, 1))) == [Code.USER_NOT_FOUND]
    run(PutUser("ada", READER), CreateToken(TOKEN, "ada", DIGEST, 1))
    assert codes(run(CreateToken(TOKEN, "ada", OTHER_DIGEST, 1))) == [Code.PRECONDITION_FAILED]


def test_the_use_of_tokens_is_noted_and_is_no_change_of_access(run: Run, view: MemoryView) -> None:
    run(PutUser("ada", READER), CreateToken(TOKEN, "ada", DIGEST, 1))
    before = access_revision(view)
    assert codes(run(UseTokens(((TOKEN, 500), ("0" * 16, 7))), UseTokens(((TOKEN, 400),)))) == [Code.OK, Code.OK]
    token = find_token(view, TOKEN)
    assert token is not None
    assert (token.used_ms, access_revision(view)) == (500, before)


def test_a_session_makes_room_for_a_login(run: Run, view: MemoryView) -> None:
    run(PutUser("ada", READER))
    made = [
        CreateToken(f"{at:016x}", "ada", DIGEST, 1, 10_000 - at, session=at % 2 == 0) for at in range(USER_TOKENS_MAX)
    ]
    assert codes(run(*made)) == [Code.OK] * USER_TOKENS_MAX
    (full,) = run(CreateToken("f" * 16, "ada", DIGEST, 1, 5_000))
    assert (full.code, refused_part(full).pointer) == (Code.ACCESS_FULL, "/user")
    before = access_revision(view)
    assert codes(run(CreateToken("f" * 16, "ada", DIGEST, 1, 5_000, session=True))) == [Code.OK]
    # The session that would have ended first is gone, and whoever holds it is told so.
    assert find_token(view, f"{USER_TOKENS_MAX - 2:016x}") is None
    assert access_revision(view) > before
    assert (len(tokens_of(view, "ada")), read_access(view).tokens) == (USER_TOKENS_MAX, USER_TOKENS_MAX)


# Bounds


def test_there_are_so_many_users_roles_and_tokens(run: Run, view: MemoryView) -> None:
    for start in range(0, USERS_MAX, 100):
        run(*(PutUser(f"u{at}", b"{}") for at in range(start, start + 100)))
    for start in range(0, TOKENS_MAX, 50):
        run(*(CreateToken(f"{at:016x}", f"u{at // 50}", DIGEST, 1) for at in range(start, start + 50)))
    for at in range(ROLES_MAX):
        run(PutRole(f"r{at}", b"{}"))
    record = read_access(view)
    assert (record.users, record.roles, record.tokens) == (USERS_MAX, ROLES_MAX, TOKENS_MAX)
    outcomes = run(PutUser("more", b"{}"), PutRole("more", b"{}"), CreateToken("f" * 16, "u999", DIGEST, 1))
    assert codes(outcomes) == [Code.ACCESS_FULL] * 3
    assert codes(run(PutUser("u0", READER), PutRole("r0", b"{}"))) == [Code.OK, Code.OK]
    assert len(list(scan_users(view, "u99"))) == 11
    assert [name for name, _ in scan_users(view, "u99", "u997")] == ["u998", "u999"]


INVALID: list[AccessAction] = [
    PutUser("", READER),
    PutUser("anonymous", READER),
    PutUser("a b", READER),
    PutUser("a" * 129, READER),
    PutUser("ada", b"[]"),
    PutUser("ada", READER, -1),
    PutUser("ada", READER, None, Asked("x y")),
    PutUser("ada", READER, None, Asked("ada", ("No",))),
    PutUser("ada", READER, None, Asked("ada", ("r",) * 17)),
    PutUser("ada", READER, None, Asked(time_ms=-1)),
    DeleteUser("../x"),
    PutRole("r", b"{"),
    PutRole("r", b"{}", 1 << 63),
    ConfigureAccess(b"{}"),
    CreateToken("short", "ada", DIGEST, 1),
    CreateToken(TOKEN, "ada", b"short", 1),
    CreateToken(TOKEN, "ada", DIGEST, -1),
    CreateToken(TOKEN, "ada", DIGEST, 1, 1 << 53),
    CreateToken(TOKEN, "ada", DIGEST, 1, 0, "x" * 257),
    CreateToken(TOKEN, "ada", DIGEST, 1, 0, "", session=True),
    RotateToken(TOKEN, b"", 1),
    RotateToken(TOKEN, DIGEST, 1 << 60),
    RevokeToken("0/0/0/0/0"),
    UseTokens(((TOKEN, 1),) * (USED_MAX + 1)),
    UseTokens((("x", 1),)),
]


@pytest.mark.parametrize("action", INVALID, ids=lambda one: type(one).__name__)
def test_what_no_member_may_propose_is_refused_where_it_is_applied_too(action: AccessAction, run: Run) -> None:
    with pytest.raises(InvalidRequest):
        check_command(Command(action), CommandLimits())
    assert codes(run(action)) == [Code.ACCESS_INVALID]


# Lock-out


def test_access_control_is_not_enforced_before_someone_can_administer_it(run: Run) -> None:
    assert codes(run(ConfigureAccess(ENFORCED))) == [Code.LOCKED_OUT]
    run(PutUser("root", ADMIN))
    # It cannot log in yet.
    assert codes(run(ConfigureAccess(ENFORCED))) == [Code.LOCKED_OUT]
    expired = CreateToken(TOKEN, "root", DIGEST, 1, 4_000)
    assert codes(run(expired, ConfigureAccess(ENFORCED, None, Asked(time_ms=4_000)))) == [Code.OK, Code.LOCKED_OUT]
    assert codes(run(SetPassword("root", HASH), ConfigureAccess(ENFORCED))) == [Code.OK, Code.OK]


def test_the_operators_certificate_proves_that_it_can(run: Run) -> None:
    assert codes(run(ConfigureAccess(ENFORCED, None, OPERATOR))) == [Code.OK]
    assert codes(run(PutUser("ada", READER, None, OPERATOR), DeleteUser("ada", None, OPERATOR))) == [Code.OK] * 2


def test_a_certificate_proves_what_its_user_may(run: Run) -> None:
    run(PutUser("root", ADMIN), PutUser("ada", READER))
    assert codes(run(ConfigureAccess(ENFORCED, None, Asked("ada")))) == [Code.LOCKED_OUT]
    root = Asked("root")
    assert codes(run(ConfigureAccess(ENFORCED, None, root))) == [Code.OK]
    assert codes(run(PutUser("root", READER, None, root), DeleteUser("root", None, root))) == [Code.LOCKED_OUT] * 2
    # A role that the certificate grants stays, but not for a user that is disabled.
    granted = Asked("root", ("admin",))
    disabled = body(roles=["admin"], disabled=True)
    assert codes(run(PutUser("root", disabled, None, granted), DeleteUser("root", None, granted))) == [
        Code.LOCKED_OUT,
        Code.OK,
    ]


def test_the_last_administrator_is_not_taken_away(enforced: Run, view: MemoryView) -> None:
    before = dict(view.values)
    attempts = [
        PutUser("root", READER),
        PutUser("root", body(roles=["admin"], disabled=True)),
        DeleteUser("root"),
        RevokeToken(TOKEN),
        RotateToken(TOKEN, OTHER_DIGEST, 10, 5, Asked(time_ms=5)),
    ]
    for attempt in attempts:
        assert codes(enforced(attempt)) == [Code.LOCKED_OUT], attempt
    kept = {key: value for key, value in view.values.items() if key[0] >= 0x13}
    assert kept == {key: value for key, value in before.items() if key[0] >= 0x13}
    # With another one each of them is allowed.
    enforced(PutUser("boss", ADMIN), SetPassword("boss", HASH))
    assert codes(enforced(RevokeToken(TOKEN), DeleteUser("root"))) == [Code.OK, Code.OK]
    assert codes(enforced(SetPassword("boss", ""))) == [Code.LOCKED_OUT]


def test_a_rule_that_denies_administration_locks_out_too(enforced: Run) -> None:
    """By a role of the administrator itself, and by one that it inherits."""
    enforced(PutRole("base", b"{}"), PutRole("boss", body(inherits=["base"], rules=[rule("admin", cluster=True)])))
    assert codes(enforced(PutUser("root", body(roles=["boss"])))) == [Code.OK]
    deny = body(rules=[rule("admin", cluster=True, effect="deny")])
    assert codes(enforced(PutRole("base", deny), PutRole("boss", b"{}"))) == [Code.LOCKED_OUT] * 2
    assert codes(enforced(PutRole("base", deny, asked=OPERATOR))) == [Code.OK]


def test_nothing_is_refused_that_makes_nothing_worse(run: Run) -> None:
    """Where only an issuer of JWTs vouches for administrators, the state proves none: it need not prove one then."""
    run(ConfigureAccess(ENFORCED, None, OPERATOR))
    assert codes(run(PutUser("ada", READER), DeleteUser("ada"), PutRole("r", b"{}"), DeleteRole("r"))) == [Code.OK] * 4


def test_the_settings_of_members_count_until_there_is_a_configuration(run: Run) -> None:
    run(PutUser("root", ADMIN), SetPassword("root", HASH))
    there = Asked(enforced=True)
    assert codes(run(DeleteUser("root", None, there), DeleteUser("root"))) == [Code.LOCKED_OUT, Code.OK]


# Revisions


def test_the_access_revision_is_that_of_the_last_change(run: Run, view: MemoryView) -> None:
    assert access_revision(view) == 0
    changes = [
        PutUser("ada", READER),
        SetPassword("ada", HASH),
        PutRole("r", b"{}"),
        RotateToken(TOKEN, OTHER_DIGEST, 1),
        RevokeToken(TOKEN),
        ConfigureAccess(body(mode="Permissive")),
        DeleteRole("r"),
        DeleteUser("ada"),
    ]
    for change in changes:
        if isinstance(change, RotateToken):
            moved = access_revision(view)
            run(CreateToken(TOKEN, "ada", DIGEST, 1))
            assert access_revision(view) == moved
        (outcome,) = run(change)
        assert outcome.code is Code.OK
        assert access_revision(view) == outcome.revision == read_header(view).revision
    (failed,) = run(DeleteUser("ada"))
    assert failed.code is Code.USER_NOT_FOUND
    assert access_revision(view) == failed.revision - 1


def test_a_command_that_was_authorized_before_a_change_is_refused(run: Run, view: MemoryView) -> None:
    key = Idempotency("k", b"f" * 32)
    outcomes = run(
        Command(PUT, None, 0),
        PutUser("ada", READER),
        Command(PUT, None, 0),
        Command(PUT, key, 0),
        Command(PUT, None, 2),
        Command(PUT, key, 2),
        DeleteUser("ada"),
        Command(PUT, key, 2),
        Command(PUT, key),
        PUT,
    )
    assert codes(outcomes) == [
        Code.OK,
        Code.OK,
        Code.ACCESS_CHANGED,
        Code.ACCESS_CHANGED,
        Code.OK,
        Code.OK,
        Code.OK,
        # BEFORE the outcome under its key: the caller may have no right to it any more.
        Code.ACCESS_CHANGED,
        Code.OK,
        Code.OK,
    ]
    assert outcomes[8].replayed
    stored = get_key(view, "b", "k")
    assert stored is not None
    assert stored.revision == 10


def test_refused_commands_take_a_revision_and_leave_nothing(run: Run, view: MemoryView) -> None:
    run(PutUser("ada", READER))
    before = {key: value for key, value in view.values.items() if key[0] not in (0x01, 0x0E)}
    many = [Command(PUT, Idempotency(f"k{at}", b"f" * 32), 7) for at in range(40)]
    assert codes(run(*many)) == [Code.ACCESS_CHANGED] * 40
    assert {key: value for key, value in view.values.items() if key[0] not in (0x01, 0x0E)} == before
    assert read_header(view).revision == 41


# Encoding, levels and digests


def test_commands_without_an_access_revision_keep_their_bytes() -> None:
    command = Command(PUT, Idempotency("k", b"f" * 32))
    assert encode_command(command)[0] == 0x92
    assert encode_command(Command(PUT, None, 3))[0] == 0x93
    for one in (command, Command(PUT), Command(PUT, None, 0), Command(PUT, None, 1 << 40)):
        assert decode_command(encode_command(one)) == one
        assert decode_batch(encode_batch(7, [one])).commands == (one,)


def test_an_access_revision_that_is_out_of_range_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        check_command(Command(PUT, None, -1), CommandLimits())


@pytest.mark.parametrize("action", INVALID[:1] + INVALID[9:14], ids=lambda one: type(one).__name__)
def test_they_need_the_level(action: AccessAction, run: Run) -> None:
    assert level_needed(action) == CHANGES
    assert codes(run(action, level=ENGINE)) == [Code.LEVEL_TOO_LOW]


def test_the_header_is_as_before_until_access_control_is_used(run: Run, view: MemoryView) -> None:
    run(PUT)
    assert view.values[HEADER_KEY][0] == 0x96
    run(PutUser("ada", READER))
    assert view.values[HEADER_KEY][0] == 0x97
    assert Header().access_revision == 0


def test_the_digest_covers_users_and_roles(run: Run, view: MemoryView) -> None:
    other = MemoryView()
    overlay = Overlay(other)
    apply_batch(overlay, encode_batch(1_000, [Command(PutUser("ada", ADMIN))], CHANGES), b"")
    other.commit(overlay.writes)
    run(PutUser("ada", READER))
    assert read_digest(view) != read_digest(other)


def test_the_policy_of_a_state_is_that_of_its_records(enforced: Run, view: MemoryView) -> None:
    record = read_access(view)
    configuration = record.configuration()
    assert configuration == AccessConfiguration(mode=Mode.ENFORCED)
    assert configuration is not None
    policy = read_policy(view, configuration)
    assert (policy.mode, policy.revision) == (Mode.ENFORCED, access_revision(view))
    assert find_role(view, "admin") is None
    assert policy.role("admin") is not None
