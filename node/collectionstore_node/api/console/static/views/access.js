// Who may do what: who you are here, users, roles, tokens and the mode, as far as your own roles let you see them.

import { call, exact, get, newKey, Problem, segment, send } from "../api.js";
import { button, field, h, say, show, table } from "../dom.js";
import { parse, plain, pretty, summary } from "../json.js";
import { ask, attempt, into, number, state, trouble } from "../parts.js";
import { area } from "./documents.js";

const PAGE = 100;

function when(milliseconds) {
  if (!milliseconds) return "never";
  const date = new Date(Number(milliseconds));
  return Number.isNaN(date.getTime()) ? "–" : date.toISOString().replace("T", " ").slice(0, 16);
}

function names(given) {
  return (given || []).join(", ") || "–";
}

const RECORDS = {
  users: {
    title: "Users",
    one: "user",
    fresh: '{\n  "roles": ["reader"]\n}',
    columns: ["Name", "Roles", "State", "Password", ""],
    cells: (one) => [one.name, names(one.roles), one.disabled ? state("bad", "disabled") : state("good", "enabled"), one.password ? "set" : "–"],
    deleted: "Its tokens are deleted, too, and what it has open ends within a second.",
  },
  roles: {
    title: "Roles",
    one: "role",
    fresh: '{\n  "rules": [\n    {"verbs": ["read"], "collections": ["books"]}\n  ]\n}',
    columns: ["Name", "Inherits", "Rules", ""],
    cells: (one, exactly) => [one.name, names(one.inherits), h("code", { class: "cut" }, summary(exactly.get("rules") ?? [], 120))],
    deleted: "A role that is still named by something is not deleted.",
  },
};

// What of a record is the server's, and no part of what is written.
const ITS_OWN = ["name", "built_in", "password", "password_revision", "created_revision", "revision"];
const ITS_OWN_COUNTS = ["configured", "users", "roles", "tokens", "access_revision", "configuration_revision", "revision"];

function without(exactly, fields) {
  const body = new Map(exactly);
  for (const name of fields) body.delete(name);
  return pretty(body);
}

// Asks for JSON, and says at once what is none: resolves to the form's values, or null.
function askJson(title, text, before = []) {
  const body = area("body", text, 12, { class: "code" });
  const wrong = h("p", { role: "alert" });
  body.addEventListener("input", () => {
    try {
      parse(body.value);
      show(wrong);
    } catch (error) {
      show(wrong, error.message);
    }
  });
  return ask(title, [before, field("As JSON", body), wrong], { confirm: "Save" });
}

function nameField(name) {
  return field("Name", h("input", { name: "name", required: true, value: name ?? "", readonly: name !== null, spellcheck: "false", autocapitalize: "none" }));
}

// A page of records in `list`: `rows` makes its table.
async function pageOf(list, path, kind, signal, rows) {
  const load = (cursor) =>
    into(list, async () => {
      const asked = new URLSearchParams({ limit: PAGE });
      if (cursor) asked.set("cursor", cursor);
      const page = await exact("GET", `${path}?${asked}`, { signal });
      const found = page.get(kind);
      const next = page.get("next_cursor");
      return [
        found.length ? rows(found) : h("p", { class: "quiet" }, `There are no ${kind}.`),
        h("div", { class: "row" }, cursor && button("First page", () => load()), next && button("Next page", () => load(next))),
      ];
    });
  await load();
}

function section(kind, signal) {
  const record = RECORDS[kind];
  const list = h("div", {});
  const outcome = h("div", {});
  const path = `/api/v1/${kind}`;

  const row = (exactly) => {
    const one = plain(exactly);
    const named = (text) => ({ class: "small", "aria-label": `${text} ${one.name}` });
    const controls = one.built_in
      ? h("span", { class: "quiet" }, "built in")
      : [
          button("Change", (event) => change(event.currentTarget, one.name, exactly), named("Change")),
          kind === "users" && button("Password", (event) => password(event.currentTarget, one.name), named("Set the password of")),
          button("Delete", (event) => remove(event.currentTarget, one.name), { ...named("Delete"), class: "danger small" }),
        ];
    return [...record.cells(one, exactly), h("div", { class: "controls" }, controls)];
  };

  const load = () => pageOf(list, path, kind, signal, (found) => table(record.title, record.columns, found.map(row), { class: "stack" }));

  const change = async (control, name, exactly) => {
    const missing = h("label", { class: "check" }, h("input", { type: "checkbox", name: "missing" }), " may name collections that do not exist");
    const text = exactly ? without(exactly, ITS_OWN) : record.fresh;
    const given = await askJson(name === null ? `New ${record.one}` : `Change ${name}`, text, [nameField(name), kind === "roles" && missing]);
    if (given === null) return;
    await attempt(control, outcome, async () => {
      parse(given.body);
      const condition = exactly ? { "If-Match": `"${exactly.get("revision").text}"` } : { "If-None-Match": "*" };
      await call("PUT", `${path}/${segment(given.name)}${given.missing ? "?missing=allow" : ""}`, { body: given.body, headers: { "Idempotency-Key": newKey(), ...condition } });
      say(`${given.name} is saved.`);
      await load();
    });
  };

  const password = async (control, name) => {
    const fresh = h("input", { name: "password", type: "password", autocomplete: "new-password", required: true, minlength: 8 });
    const given = await ask(`Password of ${name}`, field("New password", fresh, "8 characters or more"), { confirm: "Set" });
    if (given === null) return;
    await attempt(control, outcome, async () => {
      await call("PUT", `${path}/${segment(name)}/password`, { body: { password: given.password } });
      say(`The password of ${name} is set.`);
      await load();
    });
  };

  const remove = async (control, name) => {
    if (!(await ask(`Delete ${name}?`, h("p", {}, record.deleted), { confirm: "Delete", danger: true, expected: name }))) return;
    await attempt(control, outcome, async () => {
      await call("DELETE", `${path}/${segment(name)}`, { headers: { "Idempotency-Key": newKey() } });
      say(`${name} is deleted.`);
      await load();
    });
  };

  return [h("section", {}, h("h2", {}, record.title), outcome, list, button(`New ${record.one}`, (event) => change(event.currentTarget, null))), load];
}

function tokens(signal) {
  const list = h("div", {});
  const outcome = h("div", {});
  const user = h("input", { name: "user", required: true, spellcheck: "false", autocapitalize: "none" });
  const life = h("input", { name: "ttl", value: "90d", required: true, spellcheck: "false" });
  const about = h("input", { name: "description", spellcheck: "false" });
  const create = h("button", { type: "submit", class: "primary" }, "Create");

  const row = (exactly) => {
    const one = plain(exactly);
    return [
      h("code", {}, one.id),
      one.user,
      one.session ? "sign-in" : one.description || "–",
      when(one.expires_ms),
      when(one.used_ms),
      h(
        "div",
        { class: "controls" },
        !one.session && button("Rotate", (event) => rotate(event.currentTarget, one.id), { class: "small", "aria-label": `Rotate ${one.id}` }),
        button("Revoke", (event) => revoke(event.currentTarget, one.id), { class: "danger small", "aria-label": `Revoke ${one.id}` })
      ),
    ];
  };

  const load = () =>
    pageOf(list, "/api/v1/tokens", "tokens", signal, (found) => table("Tokens", ["ID", "User", "For", "Expires (UTC)", "Last used (UTC)", ""], found.map(row), { class: "stack" }));

  const reveal = (made) =>
    show(
      outcome,
      h(
        "div",
        { class: "notice", role: "status" },
        h("strong", {}, "The secret, shown this once"),
        h("p", {}, h("code", { class: "secret" }, made.token)),
        h("p", {}, "Copy it now: the store keeps its digest alone.")
      )
    );

  const make = async () => {
    const made = await call("POST", "/api/v1/tokens", { body: { user: user.value, ttl: life.value.trim(), description: about.value } });
    await load();
    reveal(made);
  };

  const rotate = async (control, id) => {
    const overlap = h("input", { name: "overlap", value: "1h", required: true, spellcheck: "false" });
    const given = await ask(`Rotate ${id}?`, field("The secret before is accepted for", overlap, "such as 1h; none: not at all"), { confirm: "Rotate" });
    if (given === null) return;
    await attempt(control, outcome, async () => {
      const made = await call("POST", `/api/v1/tokens/${segment(id)}:rotate`, { body: { overlap: given.overlap } });
      await load();
      reveal(made);
    });
  };

  const revoke = async (control, id) => {
    if (!(await ask(`Revoke ${id}?`, h("p", {}, "What uses it is refused within a second."), { confirm: "Revoke", danger: true }))) return;
    await attempt(control, outcome, async () => {
      await call("DELETE", `/api/v1/tokens/${segment(id)}`, { headers: { "Idempotency-Key": newKey() } });
      say(`${id} is revoked.`);
      await load();
    });
  };

  const form = h(
    "form",
    {
      class: "row",
      "aria-label": "New token",
      on: {
        submit: (event) => {
          event.preventDefault();
          attempt(create, outcome, make);
        },
      },
    },
    field("New token of", user),
    field("Lasts for", life, "such as 90d; none: for ever"),
    field("What it is for", about),
    create
  );
  return [h("section", {}, h("h2", {}, "Tokens"), outcome, list, form), load];
}

function configuration(signal) {
  const list = h("div", {});
  const outcome = h("div", {});

  const load = () =>
    into(list, async () => {
      const answer = await send("GET", "/api/v1/access", { signal });
      const found = parse(answer.text);
      const one = plain(found);
      return [
        h("dl", { class: "facts" }, h("div", {}, h("dt", {}, "Mode"), h("dd", {}, one.mode)), h("div", {}, h("dt", {}, "Roles without a credential"), h("dd", {}, names(one.anonymous_roles))), h("div", {}, h("dt", {}, "Access revision"), h("dd", {}, number(one.access_revision)))),
        button("Change", (event) => change(event.currentTarget, found, answer.headers.get("ETag")), { "aria-label": "Change the access configuration" }),
      ];
    });

  const change = async (control, found, tag) => {
    const given = await askJson("Change the access configuration", without(found, ITS_OWN_COUNTS));
    if (given === null) return;
    await attempt(control, outcome, async () => {
      parse(given.body);
      await call("PUT", "/api/v1/access", { body: given.body, headers: { "Idempotency-Key": newKey(), ...(tag ? { "If-Match": tag } : { "If-None-Match": "*" }) } });
      say("The access configuration is saved.");
      await load();
    });
  };

  return [h("section", {}, h("h2", {}, "Mode and issuers"), outcome, list), load];
}

const FACTS = [
  ["User", (you) => you.user || "none"],
  ["By", (you) => you.method || "no credential"],
  ["Roles", (you) => names(you.roles)],
  ["Administers", (you) => (you.administers ? "yes" : "no")],
  ["Mode", (you) => you.mode],
  ["Until (UTC)", (you) => (you.expires_ms ? when(you.expires_ms) : null)],
];

export async function access(target, context) {
  const { signal } = context;
  const you = await get("/api/v1/whoami", { signal });
  const parts = [section("users", signal), section("roles", signal), tokens(signal), configuration(signal)];
  const facts = FACTS.map(([name, value]) => [name, value(you)]).filter(([, value]) => value !== null);
  const head = [h("h1", {}, "Access"), h("section", {}, h("h2", {}, "You"), h("dl", { class: "facts" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value)))))];
  try {
    await get("/api/v1/access", { signal, ends: false });
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    const open = you.mode === "Disabled" && h("p", { class: "notice" }, "Access control is off: every client that reaches this member may read and write everything. To prepare it, sign in as an operator; on a local cluster, with the token in its file admin.token.");
    show(target, head, open || trouble(error));
    return;
  }
  show(
    target,
    head,
    parts.map(([element]) => element)
  );
  await Promise.all(parts.map(([, load]) => load()));
}
