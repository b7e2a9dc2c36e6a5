// Options of a collection: its schema, tried on the documents that are there before it counts, and who makes IDs.

import { call, collection, exact, newKey, send } from "../api.js";
import { button, field, h, link, say, show, table } from "../dom.js";
import { compact, parse, pretty } from "../json.js";
import { attempt, collectionHead, number } from "../parts.js";
import { area, jsonOf, sends } from "./documents.js";

const MODES = [
  ["strict", "strict: what it does not allow is refused"],
  ["warn", "warn: it is stored, and the answer says so"],
  ["off", "off: nothing is checked"],
];
const IDS = [
  ["uuid7", "uuid7: the server makes a UUIDv7"],
  ["client", "client: the client names each document"],
  ["sequence", "sequence: numbers that go up"],
];

function choice(name, options, value) {
  const made = h("select", { name }, options.map(([one, label]) => h("option", { value: one }, label)));
  made.value = value;
  return made;
}

export async function schema(target, context, name) {
  const { signal } = context;
  const answer = await send("GET", collection(name), { signal });
  let tag = answer.headers.get("ETag");
  const options = parse(answer.text).get("options") ?? new Map();
  const stored = options.get("schema") ?? new Map();
  const outcome = h("div", {});
  const document = area("schema", stored.has("document") ? pretty(stored.get("document")) : "", 16, { class: "code" });
  const mode = choice("mode", MODES, stored.get("mode") ?? "strict");
  const defaults = h("input", { type: "checkbox", name: "defaults" });
  defaults.checked = stored.get("defaults") === true;
  const ids = choice("ids", IDS, options.get("ids") ?? "uuid7");
  const ttl = h("input", { name: "ttl", value: options.get("ttl") ?? "", placeholder: "for ever", spellcheck: "false" });
  const save = h("button", { type: "submit", class: "primary" }, "Save");

  const given = () => {
    const found = jsonOf(document, "Schema");
    if (found === undefined) return null;
    return new Map([["document", found], ["mode", mode.value], ["defaults", defaults.checked]]);
  };

  const tried = async () => {
    const body = new Map([["show", 20]]);
    const schema = given();
    if (schema !== null) body.set("schema", schema);
    let checked = 0;
    let invalid = 0;
    const shown = [];
    for (let after = null; ; ) {
      if (after !== null) body.set("after", after);
      const page = await exact("POST", collection(name, ":validate"), { body: compact(body), signal });
      checked += Number(page.get("checked").text);
      invalid += Number(page.get("invalid").text);
      shown.push(...page.get("documents"));
      after = page.get("next_after");
      show(outcome, h("p", { class: "notice", role: "status" }, `${number(checked)} documents checked.`));
      if (after === null || shown.length >= 20) break;
    }
    show(
      outcome,
      h("p", { class: invalid ? "notice warn" : "notice good", role: "status" }, `${number(invalid)} of ${number(checked)} documents are not allowed by this schema.`),
      shown.length > 0 &&
        table(
          "Documents that are not allowed",
          ["ID", "What is wrong"],
          shown.slice(0, 20).map((one) => [
            link(one.get("id"), "collections", name, "documents", one.get("id")),
            h("ul", {}, one.get("errors").slice(0, 5).map((error) => h("li", {}, h("code", {}, error.get("pointer") || "the whole"), ` ${error.get("detail")}`))),
          ])
        )
    );
  };

  const saved = async () => {
    const patch = new Map([["schema", given()], ["ids", ids.value], ["ttl", ttl.value.trim() || null]]);
    const headers = { "Idempotency-Key": newKey() };
    // Others may have changed the options since they were shown: then nothing is changed, and it is said.
    if (tag) headers["If-Match"] = tag;
    await call("PATCH", collection(name), { body: compact(patch), type: "application/merge-patch+json", headers });
    tag = (await send("GET", collection(name), { signal })).headers.get("ETag");
    show(outcome);
    say("The options are saved.");
  };

  show(
    target,
    collectionHead(name, "schema"),
    h("p", { class: "quiet" }, stored.has("version") ? `Schema of revision ${stored.get("version").text}.` : "The collection has no schema."),
    sends(
      h(
        "form",
        {
          class: "query",
          "aria-label": "Options",
          on: {
            submit: (event) => {
              event.preventDefault();
              attempt(save, outcome, saved);
            },
          },
        },
        field("Schema of documents", document, "JSON Schema 2020-12; empty for none"),
        h("div", { class: "row" }, field("Mode", mode), h("label", { class: "check" }, defaults, " fill in defaults")),
        h("div", { class: "row" }, field("IDs of new documents", ids), field("Time to live", ttl, "such as 30m; empty: for ever")),
        h("div", { class: "row" }, save, button("Try on the documents that are there", (event) => attempt(event.currentTarget, outcome, tried)))
      )
    ),
    outcome
  );
}
