// Who may do what: who you are here, users, roles and tokens, as far as your own roles let you see them.

import { call, exact, newKey, Problem, segment } from "../api.js";
import { button, field, h, say, show, table } from "../dom.js";
import { parse, plain, pretty, summary } from "../json.js";
import { ask, attempt, into, state } from "../parts.js";
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
    empty: { roles: ["reader"] },
    columns: ["Name", "Roles", "State", ""],
    cells: (one) => [one.name, names(one.roles), one.disabled ? state("bad", "disabled") : state("good", "enabled")],
  },
  roles: {
    title: "Roles",
    one: "role",
    empty: { rules: [{ verbs: ["read"], collections: ["books"] }] },
    columns: ["Name", "Inherits", "Rules", ""],
    cells: (one) => [one.name, names(one.inherits), h("code", { class: "cut" }, summary(one.exact.get("rules") ?? [], 120))],
  },
};

// What of a record is the server's, and not part of what is written.
const ITS_OWN = ["name", "built_in", "revision"];

function editable(exactly) {
  const body = new Map(exactly);
  for (const name of ITS_OWN) body.delete(name);
  return pretty(body);
}

async function edited(kind, name, text) {
  const record = RECORDS[kind];
  const named = h("input", { name: "name", required: true, value: name ?? "", readonly: name !== null, spellcheck: "false", autocapitalize: "none" });
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
  const answer = await ask(name === null ? `New ${record.one}` : `Change ${name}`, [field("Name", named), field("As JSON", body), wrong], { confirm: "Save" });
  if (answer === null) return null;
  return { name: answer.name, body: answer.body };
}

function section(kind, signal) {
  const record = RECORDS[kind];
  const list = h("div", {});
  const outcome = h("div", {});
  const path = `/api/v1/${kind}`;

  const load = (cursor) =>
    into(list, async () => {
      const asked = new URLSearchParams({ limit: PAGE });
      if (cursor) asked.set("cursor", cursor);
      const page = await exact("GET", `${path}?${asked}`, { signal });
      const found = page.get(kind);
      const next = page.get("next_cursor");
      return [
        found.length === 0
          ? h("p", { class: "quiet" }, `There are no ${kind}.`)
          : table(
              record.title,
              record.columns,
              found.map((exactly) => {
                const one = { ...plain(exactly), exact: exactly };
                const controls = one.built_in
                  ? h("span", { class: "quiet" }, "built in")
                  : [
                      button("Change", (event) => change(event.currentTarget, one.name, exactly), { class: "small", "aria-label": `Change ${one.name}` }),
                      " ",
                      button("Delete", (event) => remove(event.currentTarget, one.name), { class: "danger small", "aria-label": `Delete ${one.name}` }),
                    ];
                return [...record.cells(one), controls];
              }),
              { class: "stack" }
            ),
        h("div", { class: "row" }, cursor && button("First page", () => load()), next && button("Next page", () => load(next))),
      ];
    });

  const change = async (control, name, exactly) => {
    const given = await edited(kind, name, exactly ? editable(exactly) : JSON.stringify(record.empty, null, 2));
    if (given === null) return;
    await attempt(control, outcome, async () => {
      parse(given.body);
      await call("PUT", `${path}/${segment(given.name)}`, { body: given.body, headers: { "Idempotency-Key": newKey() } });
      say(`${given.name} is saved.`);
      await load();
    });
  };

  const remove = async (control, name) => {
    if (!(await ask(`Delete ${name}?`, h("p", {}, `The ${record.one} is deleted at once, on all members.`), { confirm: "Delete", danger: true, expected: name }))) return;
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
  const life = h("input", { name: "ttl", value: "30d", spellcheck: "false" });
  const create = h("button", { type: "submit", class: "primary" }, "Create");

  const load = (cursor) =>
    into(list, async () => {
      const asked = new URLSearchParams({ limit: PAGE });
      if (cursor) asked.set("cursor", cursor);
      const page = await call("GET", `/api/v1/tokens?${asked}`, { signal });
      return [
        page.tokens.length === 0
          ? h("p", { class: "quiet" }, "There are no tokens.")
          : table(
              "Tokens",
              ["ID", "User", "Expires (UTC)", "Description", ""],
              page.tokens.map((one) => [
                h("code", {}, one.id),
                one.user,
                when(one.expires_ms),
                one.description || "–",
                button("Revoke", (event) => revoke(event.currentTarget, one.id), { class: "danger small", "aria-label": `Revoke ${one.id}` }),
              ]),
              { class: "stack" }
            ),
        h("div", { class: "row" }, cursor && button("First page", () => load()), page.next_cursor && button("Next page", () => load(page.next_cursor))),
      ];
    });

  const revoke = async (control, id) => {
    if (!(await ask(`Revoke ${id}?`, h("p", {}, "What uses it is refused within a second."), { confirm: "Revoke", danger: true }))) return;
    await attempt(control, outcome, async () => {
      await call("DELETE", `/api/v1/tokens/${segment(id)}`, { headers: { "Idempotency-Key": newKey() } });
      say(`${id} is revoked.`);
      await load();
    });
  };

  const make = async () => {
    const body = { user: user.value };
    if (life.value.trim()) body.ttl = life.value.trim();
    const made = await call("POST", "/api/v1/tokens", { body });
    show(
      outcome,
      h("div", { class: "notice", role: "status" }, h("strong", {}, "The new token, shown once"), h("p", {}, h("code", { class: "secret" }, made.token)), h("p", {}, "Copy it now: the store keeps only its digest."))
    );
    await load();
  };

  return [
    h(
      "section",
      {},
      h("h2", {}, "Tokens"),
      outcome,
      list,
      h(
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
        field("New token for", user),
        field("Valid for", life),
        create
      )
    ),
    load,
  ];
}

export async function access(target, context) {
  const { signal } = context;
  let you;
  try {
    you = await call("GET", "/api/v1/whoami", { signal });
  } catch (error) {
    if (!(error instanceof Problem) || error.code !== "unknown_route") throw error;
    show(target, h("h1", {}, "Access"), h("p", {}, "This member has no access control: whoever reaches it may do everything. It has no users, roles or tokens to show."));
    return;
  }
  const [users, loadUsers] = section("users", signal);
  const [roles, loadRoles] = section("roles", signal);
  const [issued, loadTokens] = tokens(signal);
  show(
    target,
    h("h1", {}, "Access"),
    h("section", {}, h("h2", {}, "You"), h("dl", { class: "facts" }, Object.entries(you).map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, summary(parse(JSON.stringify(value)), 200)))))),
    users,
    roles,
    issued
  );
  await Promise.all([loadUsers(), loadRoles(), loadTokens()]);
}
