// Collections: a page of them, a new one, and the end of one.

import { call, collection, get, newKey } from "../api.js";
import { button, field, h, link, say, show, table } from "../dom.js";
import { ask, attempt, into, number } from "../parts.js";

const PAGE = 100;

export async function collections(target, context) {
  const { signal } = context;
  const list = h("div", {});
  const outcome = h("div", {});
  const prefix = h("input", { name: "prefix", type: "search", spellcheck: "false", autocapitalize: "none" });
  const name = h("input", { name: "name", required: true, pattern: "[a-z0-9][a-z0-9_\\-]{0,62}", spellcheck: "false", autocapitalize: "none" });
  const create = h("button", { type: "submit", class: "primary" }, "Create");

  const load = (cursor) =>
    into(list, async () => {
      const asked = new URLSearchParams({ limit: PAGE });
      if (prefix.value) asked.set("prefix", prefix.value);
      if (cursor) asked.set("cursor", cursor);
      const page = await get(`/api/v1/collections?${asked}`, { signal });
      if (!page.collections.length) return h("p", { class: "quiet" }, prefix.value ? "No collection begins so." : "There are no collections that you may see.");
      return [
        table(
          "Collections",
          ["Name", "Created at revision", ""],
          page.collections.map((one) => [
            link(one.name, "collections", one.name),
            number(one.revision),
            button("Drop", (event) => drop(one.name, event.currentTarget), { class: "danger small", "aria-label": `Drop ${one.name}` }),
          ])
        ),
        h("div", { class: "row" }, cursor && button("First page", () => load()), page.next_cursor && button("Next page", () => load(page.next_cursor))),
      ];
    });

  const drop = async (given, control) => {
    const warning = h("p", {}, "All of its documents and indexes are deleted. This cannot be undone.");
    if (!(await ask(`Drop ${given}?`, warning, { confirm: "Drop", danger: true, expected: given }))) return;
    await attempt(control, outcome, async () => {
      await call("DELETE", collection(given), { headers: { "Idempotency-Key": newKey() } });
      say(`${given} is dropped.`);
      await load();
    });
  };

  show(
    target,
    h("h1", {}, "Collections"),
    h(
      "form",
      {
        class: "row",
        role: "search",
        on: {
          submit: (event) => {
            event.preventDefault();
            load();
          },
        },
      },
      field("Begins with", prefix),
      h("button", { type: "submit" }, "Show")
    ),
    outcome,
    list,
    h(
      "form",
      {
        class: "row",
        "aria-label": "New collection",
        on: {
          submit: (event) => {
            event.preventDefault();
            attempt(create, outcome, async () => {
              await call("POST", "/api/v1/collections", { body: { name: name.value }, headers: { "Idempotency-Key": newKey() } });
              say(`${name.value} is created.`);
              name.value = "";
              await load();
            });
          },
        },
      },
      field("New collection", name, "a-z, 0-9, _ and -"),
      create
    )
  );
  await load();
}
