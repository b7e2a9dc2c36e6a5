// One document: its text as it is stored, a check against the schema, and a save that overwrites no other person's.

import { call, collection, documentOf, exact, newKey, Problem, send } from "../api.js";
import { button, field, h, link, place, say, show, table } from "../dom.js";
import { changes, indented, locate, merge, parse, pretty, summary, tight } from "../json.js";
import { ask, attempt, collectionHead, duration } from "../parts.js";
import { area, sends } from "./documents.js";

// The life of a stored document, which a save keeps: the deadline, or the lease.
function lifeOf(headers) {
  const lease = headers.get("X-Lease");
  const left = headers.get("X-Expires-In-Ms");
  if (lease) return { query: `?lease=${encodeURIComponent(lease)}`, text: `It is attached to lease ${lease}, and a save keeps that.` };
  if (left) return { query: `?ttl=${Math.max(1, Math.ceil(Number(left) / 1000))}s`, text: `It expires in ${duration(Number(left))}, and a save keeps that.` };
  return { query: "", text: "" };
}

async function stored(name, id, signal) {
  const answer = await send("GET", documentOf(name, id), { signal });
  return { text: indented(answer.text), tag: answer.headers.get("ETag"), life: lifeOf(answer.headers) };
}

export async function editor(target, context, name, id) {
  const { signal } = context;
  const isNew = id === null;
  const base = isNew ? { text: "{\n}", tag: null, life: lifeOf(new Headers()) } : await stored(name, id, signal);
  const facts = h("p", { class: "quiet" });
  const outcome = h("div", {});
  const text = area("document", base.text, 18, { class: "code", "aria-label": "The document as JSON" });
  const given = h("input", { name: "id", spellcheck: "false", autocapitalize: "none" });
  const save = h("button", { type: "submit", class: "primary" }, isNew ? "Create" : "Save");

  const describe = () => show(facts, isNew ? "A document that is not stored yet." : `Revision ${base.tag?.replaceAll('"', "")}. ${base.life.text}`);

  const point = (pointer) => {
    try {
      const [from, to] = locate(text.value, pointer);
      text.focus();
      text.setSelectionRange(from, to);
    } catch {
      text.focus(); // what is there now is no JSON, so it has no places
    }
  };

  // The text as it is sent: JSON, and without the white space that is for people, as what is sent has a bound.
  const typed = () => {
    parse(text.value);
    return tight(text.value);
  };

  const format = async () => {
    parse(text.value);
    text.value = indented(text.value);
    changed();
  };

  // Whether the schema of the collection allows the text: null where there is none.
  const violations = async () => {
    const body = `{"document":${typed()}}`;
    try {
      const found = await exact("POST", collection(name, ":validate"), { body, signal });
      return found.get("documents").flatMap((one) => one.get("errors"));
    } catch (error) {
      if (error instanceof Problem && error.code === "invalid_schema") return null;
      throw error;
    }
  };

  const report = (found) => {
    if (found === null) show(outcome, h("p", { class: "notice" }, "The collection has no schema. The text is valid JSON."));
    else if (!found.length) show(outcome, h("p", { class: "notice good" }, "The schema of the collection allows this document."));
    else {
      show(
        outcome,
        h(
          "div",
          { class: "trouble", role: "alert" },
          h("strong", {}, "The schema of the collection does not allow this document"),
          h(
            "ul",
            {},
            found.map((one) => h("li", {}, button(one.get("pointer") || "the whole", () => point(one.get("pointer")), { class: "inline" }), ` ${one.get("detail")}`))
          )
        )
      );
    }
  };

  const saved = (answer, id, headers) => {
    const warned = headers.get("X-Schema-Warning");
    say(`${id} is saved at revision ${answer.revision}.${warned ? ` But ${warned}.` : ""}`);
  };

  const write = async () => {
    const found = await violations();
    if (found?.length) {
      report(found);
      const warn = (await optionsOf()).schema?.mode !== "strict";
      if (!warn) return;
      if (!(await ask("Save it nevertheless?", h("p", {}, "The schema does not allow it, and only warns."), { confirm: "Save" }))) return;
    }
    const headers = { "Idempotency-Key": newKey() };
    if (isNew) {
      const created = given.value
        ? await send("PUT", documentOf(name, given.value), { body: typed(), headers: { ...headers, "If-None-Match": "*" } })
        : await send("POST", collection(name, "/documents"), { body: typed(), headers });
      const answer = JSON.parse(created.text);
      saved(answer, answer.id, created.headers);
      context.guard(null);
      location.hash = place("collections", name, "documents", answer.id);
      return;
    }
    try {
      const done = await send("PUT", documentOf(name, id) + base.life.query, { body: typed(), headers: { ...headers, "If-Match": base.tag } });
      saved(JSON.parse(done.text), id, done.headers);
    } catch (error) {
      if (!(error instanceof Problem) || error.status !== 412) throw error;
      await conflict();
      return;
    }
    await reload();
  };

  const optionsOf = async () => (await call("GET", collection(name), { signal })).options ?? {};

  const reload = async () => {
    Object.assign(base, await stored(name, id, signal));
    text.value = base.text;
    context.guard(null);
    describe();
  };

  // Another client has written meanwhile: shows what each has changed, and lets the person decide.
  const conflict = async () => {
    let theirs;
    try {
      theirs = await stored(name, id, signal);
    } catch (error) {
      if (!(error instanceof Problem) || error.code !== "document_not_found") throw error;
      return gone();
    }
    const values = [base.text, text.value, theirs.text].map((one) => parse(one));
    const [was, mine, now] = values;
    const { merged, conflicts } = merge(was, mine, now);
    const yours = new Map(changes(was, mine).map((one) => [one.pointer, one]));
    const others = new Map(changes(was, now).map((one) => [one.pointer, one]));
    const shown = (one) => (one === undefined ? h("span", { class: "quiet" }, "as it was") : one.after === undefined ? h("i", {}, "removed") : h("code", {}, summary(one.after, 80)));
    const rows = [...new Set([...yours.keys(), ...others.keys()])].map((pointer) => [h("code", {}, pointer || "the whole"), shown(yours.get(pointer)), shown(others.get(pointer))]);
    const onto = (value) => {
      text.value = value;
      Object.assign(base, theirs);
      changed();
      describe();
      show(outcome, h("p", { class: "notice" }, `This is your text on top of revision ${base.tag.replaceAll('"', "")}. It is not saved yet.`));
      text.focus();
    };
    show(
      outcome,
      h(
        "section",
        { class: "trouble conflict", role: "alert" },
        h("h2", {}, "Another client has changed this document"),
        h("p", {}, `You began at revision ${base.tag.replaceAll('"', "")}; stored is ${theirs.tag.replaceAll('"', "")}. Nothing was saved.`),
        table("Changes", ["Place", "Yours", "Stored now"], rows),
        conflicts.length > 0 && h("p", {}, `Both changed ${conflicts.map((one) => one || "the whole").join(", ")}.`),
        h(
          "div",
          { class: "row" },
          conflicts.length === 0 && button("Take both", () => onto(pretty(merged)), { class: "primary" }),
          button("Keep mine on top of it", () => onto(text.value)),
          button("Take the stored one", async () => {
            await reload();
            show(outcome);
          })
        )
      )
    );
    outcome.scrollIntoView({ block: "nearest" });
  };

  const gone = () =>
    show(
      outcome,
      h(
        "section",
        { class: "trouble conflict", role: "alert" },
        h("h2", {}, "Another client has deleted this document"),
        h("p", {}, "Nothing was saved. Your text is still here: to store it, create it anew."),
        button("Create it anew", (event) =>
          attempt(event.currentTarget, outcome, async () => {
            const done = await send("PUT", documentOf(name, id), { body: typed(), headers: { "Idempotency-Key": newKey(), "If-None-Match": "*" } });
            saved(JSON.parse(done.text), id, done.headers);
            await reload();
          })
        )
      )
    );

  const remove = async (control) => {
    if (!(await ask(`Delete ${id}?`, h("p", {}, "The document is deleted if it is still the one that you see."), { confirm: "Delete", danger: true }))) return;
    await attempt(control, outcome, async () => {
      try {
        await send("DELETE", documentOf(name, id), { headers: { "Idempotency-Key": newKey(), "If-Match": base.tag } });
      } catch (error) {
        if (!(error instanceof Problem) || error.status !== 412) throw error;
        await conflict();
        return;
      }
      say(`${id} is deleted.`);
      context.guard(null);
      location.hash = place("collections", name, "documents");
    });
  };

  const changed = () =>
    context.guard(
      text.value === base.text ? null : () => ask("Leave without saving?", h("p", {}, "What you changed is lost."), { confirm: "Leave", danger: true })
    );
  text.addEventListener("input", changed);

  const form = sends(
    h(
      "form",
      {
        on: {
          submit: (event) => {
            event.preventDefault();
            attempt(save, outcome, write, { at: point });
          },
        },
      },
      isNew && field("ID", given, "Left empty, the server makes one."),
      text,
      h(
        "div",
        { class: "row" },
        save,
        button("Check", (event) => attempt(event.currentTarget, outcome, async () => report(await violations()), { at: point })),
        button("Format", (event) => attempt(event.currentTarget, outcome, format, { at: point })),
        !isNew && button("Read again", (event) => attempt(event.currentTarget, outcome, reload)),
        !isNew && button("Delete", (event) => remove(event.currentTarget), { class: "danger" })
      )
    )
  );

  describe();
  show(
    target,
    collectionHead(name, "documents"),
    h("p", { class: "path" }, link("Documents", "collections", name, "documents"), " / ", h("b", {}, isNew ? "new" : id)),
    facts,
    form,
    outcome
  );
}
