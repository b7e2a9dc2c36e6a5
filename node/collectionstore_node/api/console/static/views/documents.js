// Documents of a collection: found by a filter, in an order, page by page.

import { collection, exact } from "../api.js";
import { button, field, h, link, place, show, table } from "../dom.js";
import { compact, Num, parse, summary } from "../json.js";
import { collectionHead, into, number } from "../parts.js";

// Reads the JSON of a field, with its name in what is said of a mistake. Empty is `none`.
export function jsonOf(control, name, none) {
  const text = control.value.trim();
  if (!text) return none;
  try {
    return parse(text);
  } catch (error) {
    error.message = `${name}: ${error.message}`;
    throw error;
  }
}

export function area(name, value, rows, attributes = {}) {
  const made = h("textarea", { name, rows, spellcheck: "false", autocapitalize: "none", autocomplete: "off", ...attributes });
  made.value = value;
  return made;
}

// Ctrl+Enter in a form sends it, also from a field of several lines.
export function sends(form) {
  form.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      form.requestSubmit();
    }
  });
  return form;
}

// The fields of a query, with what they held in the address.
export function queryFields(query) {
  const filter = area("filter", query.get("filter") ?? "", 3, { placeholder: '{"year": {"$gte": 1950}}' });
  const sort = h("input", { name: "sort", placeholder: '{"year": -1}', spellcheck: "false", value: query.get("sort") ?? "" });
  const limit = h("input", { name: "limit", type: "number", min: 1, max: 1000, value: query.get("limit") ?? "50" });
  return { filter, sort, limit };
}

// The body of a find, its numbers as they were typed.
export function bodyOf({ filter, sort, limit }, more = {}) {
  const body = new Map();
  const asked = jsonOf(filter, "Filter");
  const order = jsonOf(sort, "Order");
  if (asked !== undefined) body.set("filter", asked);
  if (order !== undefined) body.set("sort", order);
  if (limit.value) body.set("limit", new Num(String(Number(limit.value))));
  for (const [name, value] of Object.entries(more)) body.set(name, value);
  return body;
}

function remember(name, fields) {
  const kept = new URLSearchParams();
  for (const control of Object.values(fields)) if (control.value.trim()) kept.set(control.name, control.value);
  // The address can be kept and sent: it has the query, and nothing of what it finds.
  history.replaceState(null, "", `${place("collections", name, "documents")}?${kept}`);
}

export async function documents(target, context, name) {
  const { signal, query } = context;
  const fields = queryFields(query);
  const list = h("div", {});
  const counted = h("span", { class: "quiet", role: "status" });
  const id = h("input", { name: "id", spellcheck: "false", autocapitalize: "none" });

  const load = (cursor) =>
    into(list, async () => {
      const body = bodyOf(fields, cursor ? { cursor } : {});
      const page = await exact("POST", collection(name, ":find"), { body: compact(body), signal });
      const found = page.get("documents");
      const next = page.get("next_cursor");
      if (!found.length && !next) return h("p", { class: "quiet" }, "No document matches.");
      return [
        table(
          `Documents of ${name}`,
          ["ID", "Revision", "Document"],
          found.map((one) => [link(one.get("id"), "collections", name, "documents", one.get("id")), one.get("revision").text, h("code", { class: "cut" }, summary(one.get("document")))]),
          { class: "documents" }
        ),
        h(
          "div",
          { class: "row" },
          cursor && button("First page", () => load()),
          next && button("Next page", () => load(next)),
          h("span", { class: "quiet" }, `${found.length} shown, state of revision ${page.get("revision").text}`)
        ),
      ];
    });

  const count = () =>
    into(counted, async () => {
      const body = new Map();
      const asked = jsonOf(fields.filter, "Filter");
      if (asked !== undefined) body.set("filter", asked);
      const answer = await exact("POST", collection(name, ":count"), { body: compact(body), signal });
      return `${number(answer.get("count").text)} documents match.`;
    });

  const form = sends(
    h(
      "form",
      {
        class: "query",
        role: "search",
        on: {
          submit: (event) => {
            event.preventDefault();
            remember(name, fields);
            load();
          },
        },
      },
      field("Filter", fields.filter),
      h("div", { class: "row" }, field("Order", fields.sort), field("Per page", fields.limit)),
      h(
        "div",
        { class: "row" },
        h("button", { type: "submit", class: "primary" }, "Find"),
        button("Count", count),
        button("Explain", () => {
          remember(name, fields);
          location.hash = location.hash.replace("/documents?", "/explain?");
        }),
        counted
      )
    )
  );

  show(
    target,
    collectionHead(name, "documents"),
    form,
    list,
    h(
      "div",
      { class: "row ends" },
      h("a", { class: "as-button", href: place("collections", name, "new") }, "New document"),
      h(
        "form",
        {
          class: "row",
          on: {
            submit: (event) => {
              event.preventDefault();
              if (id.value) location.hash = place("collections", name, "documents", id.value);
            },
          },
        },
        field("Open by ID", id),
        h("button", { type: "submit" }, "Open")
      )
    )
  );
  await load();
}
