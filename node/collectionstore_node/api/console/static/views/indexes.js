// Indexes of a collection: how far each is built, a new one, and the end of one.

import { call, collection, exact, get, newKey, segment } from "../api.js";
import { button, field, h, say, show, table } from "../dom.js";
import { compact } from "../json.js";
import { ask, attempt, bytes, collectionHead, number, poll, state, trouble } from "../parts.js";
import { area, jsonOf, sends } from "./documents.js";

const EVERY_MS = 1000;

function built(index, total) {
  if (index.state === "ready") return state("good", "ready");
  if (index.state === "failed") {
    const ids = (index.failure?.ids || []).join(", ");
    return state("bad", `failed: ${index.failure?.reason ?? ""}${ids ? ` (${ids})` : ""}`);
  }
  const passed = index.progress?.documents ?? 0;
  const label = total ? `${number(passed)} of ${number(total)} documents` : `${number(passed)} documents`;
  return [
    state("busy", "building"),
    h("progress", { "aria-label": `Build of ${index.name}`, max: total || null, value: total ? Math.min(passed, total) : null }),
    h("small", {}, label),
  ];
}

function fieldsOf(index) {
  return Object.entries(index.fields).map(([path, order]) => `${path} ${order > 0 ? "↑" : "↓"}`).join(", ");
}

export async function indexes(target, context, name) {
  const { signal } = context;
  const list = h("div", {});
  const outcome = h("div", {});
  const named = h("input", { name: "name", required: true, pattern: "[a-z0-9][a-z0-9_\\-]{0,62}", spellcheck: "false", autocapitalize: "none" });
  const fields = h("input", { name: "fields", required: true, placeholder: '{"year": 1}', spellcheck: "false" });
  const filter = area("filter", "", 2);
  const fold = h("input", { name: "fold", spellcheck: "false" });
  const unique = h("input", { type: "checkbox", name: "unique" });
  const sparse = h("input", { type: "checkbox", name: "sparse" });
  const create = h("button", { type: "submit", class: "primary" }, "Create");
  let total = 0;
  let drawn = "";
  let building = false;

  const load = async () => {
    try {
      const { indexes: found } = await get(collection(name, "/indexes"), { signal });
      building = found.some((one) => one.state === "building");
      if (building && !total) total = (await exact("POST", collection(name, ":count"), { body: "{}", signal })).get("count").text;
      if (!building) total = 0;
      // Not drawn anew while nothing has changed: the focus would be lost.
      const now = JSON.stringify(found);
      if (now === drawn) return;
      drawn = now;
      if (!found.length) {
        show(list, h("p", { class: "quiet" }, "There are no indexes: every query reads the collection."));
        return;
      }
      show(
        list,
        table(
          `Indexes of ${name}`,
          ["Name", "Fields", "Kind", "State", "Entries", "Size of keys", ""],
          found.map((one) => [
            one.name,
            h("code", {}, fieldsOf(one)),
            [one.unique && "unique", one.sparse && "sparse", one.fold?.length && `one case: ${one.fold.join(", ")}`, one.filter && "partial"].filter(Boolean).join(", ") || "–",
            built(one, Number(total)),
            number(one.entries),
            bytes(one.key_bytes ?? 0),
            button("Drop", (event) => drop(one.name, event.currentTarget), { class: "danger small", "aria-label": `Drop ${one.name}` }),
          ]),
          { class: "stack" }
        )
      );
    } catch (error) {
      if (signal.aborted) return;
      drawn = "";
      show(list, trouble(error));
    }
  };

  const drop = async (given, control) => {
    if (!(await ask(`Drop the index ${given}?`, h("p", {}, "Queries that use it will read more."), { confirm: "Drop", danger: true }))) return;
    await attempt(control, outcome, async () => {
      await call("DELETE", collection(name, `/indexes/${segment(given)}`), { headers: { "Idempotency-Key": newKey() } });
      say(`${given} is dropped.`);
      await load();
    });
  };

  const make = async () => {
    const body = new Map([["name", named.value], ["fields", jsonOf(fields, "Fields")]]);
    if (unique.checked) body.set("unique", true);
    if (sparse.checked) body.set("sparse", true);
    const folded = fold.value.split(",").map((one) => one.trim()).filter(Boolean);
    if (folded.length) body.set("fold", folded);
    const partial = jsonOf(filter, "Filter");
    if (partial !== undefined) body.set("filter", partial);
    await call("POST", collection(name, "/indexes"), { body: compact(body), headers: { "Idempotency-Key": newKey() } });
    say(`${named.value} is being built.`);
    await load();
  };

  show(
    target,
    collectionHead(name, "indexes"),
    outcome,
    list,
    h("h2", {}, "New index"),
    sends(
      h(
        "form",
        {
          class: "query",
          "aria-label": "New index",
          on: {
            submit: (event) => {
              event.preventDefault();
              attempt(create, outcome, make);
            },
          },
        },
        h("div", { class: "row" }, field("Name", named), field("Fields", fields, "paths, each 1 or -1")),
        h("div", { class: "row" }, h("label", { class: "check" }, unique, " unique"), h("label", { class: "check" }, sparse, " sparse"), field("Fields in one case", fold, "names, with commas")),
        field("Only documents that match", filter),
        create
      )
    )
  );
  await poll(signal, EVERY_MS, load);
}
