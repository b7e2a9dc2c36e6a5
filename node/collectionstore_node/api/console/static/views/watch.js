// Changes as they are made: of a collection, or of everything that this person may see.

import { collection, lines, Problem } from "../api.js";
import { button, field, h, link, show } from "../dom.js";
import { compact, summary } from "../json.js";
import { collectionHead, trouble } from "../parts.js";
import { area, jsonOf } from "./documents.js";

const SHOWN_MAX = 200;
const PAUSES_MS = [500, 1000, 2000, 5000, 10000];
const KINDS = ["insert", "replace", "update", "delete", "expire"];
const FINAL = { invalidate: "The collection was dropped.", gone: "Changes that should follow are not kept any more.", failed: "The filter cannot be asked about a document." };

export async function watch(target, context, name) {
  const { signal } = context;
  const path = name === null ? "/api/v1/:watch" : collection(name, ":watch");
  const filter = area("filter", "", 2);
  const from = h("input", { name: "from", value: "now", spellcheck: "false" });
  const kinds = KINDS.map((one) => h("input", { type: "checkbox", name: "ops", value: one }));
  const events = h("ol", { class: "events", "aria-label": "Changes, the newest first" });
  const status = h("p", { role: "status", class: "quiet" }, "Not watching.");
  const outcome = h("div", {});
  const control = h("button", { type: "submit", class: "primary" }, "Watch");
  const stop = button("Stop", () => running?.abort(), { disabled: true });
  let running = null;
  let count = 0;

  signal.addEventListener("abort", () => running?.abort());

  const tell = (event) => {
    const where = event.get("collection") ?? event.get("bucket");
    const what = event.get("id") ?? event.get("key") ?? event.get("index");
    const op = event.get("op") ?? event.get("event");
    const content = event.get("document");
    const line = h(
      "li",
      {},
      h("span", { class: `op ${KINDS.includes(op) ? op : "other"}` }, op, event.get("left") === true && " (left)"),
      h("span", { class: "revision" }, event.get("revision")?.text ?? ""),
      h("span", { class: "target" }, name === null && where !== undefined && `${where} / `, what === undefined ? "" : event.has("id") ? link(what, "collections", where, "documents", what) : what),
      content !== undefined && h("code", { class: "cut" }, summary(content, 240))
    );
    events.prepend(line);
    while (events.childElementCount > SHOWN_MAX) events.lastElementChild.remove();
    count += 1;
    show(status, `Watching. ${count} ${count === 1 ? "change" : "changes"} so far${count > SHOWN_MAX ? `, the last ${SHOWN_MAX} are shown` : ""}.`);
  };

  const wait = (milliseconds, ending) =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      ending.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
    });

  // Watches, and goes on from the last token when the connection is lost: no change is left out and none told twice.
  const run = async (asked, ending) => {
    let failures = 0;
    while (!ending.aborted) {
      try {
        show(status, `Watching. ${count} changes so far.`);
        for await (const event of lines(`${path}?${asked}`, { signal: ending })) {
          failures = 0;
          const kind = event.get("event");
          if (event.has("token")) asked.set("from", event.get("token"));
          if (kind === "change" || kind === "document") tell(event);
          else if (Object.hasOwn(FINAL, kind)) {
            show(outcome, h("p", { class: "notice" }, `${FINAL[kind]} The watch has ended.`));
            return;
          }
        }
      } catch (error) {
        if (ending.aborted) return;
        // What the member refuses stays refused; what is no answer, or not now, is asked again.
        const passing = !(error instanceof Problem) || error.status === 0 || error.status === 503;
        if (!passing) throw error;
      }
      if (ending.aborted) return;
      const pause = PAUSES_MS[Math.min(failures, PAUSES_MS.length - 1)];
      failures += 1;
      show(status, "The connection was lost. It goes on from the last change.");
      await wait(pause, ending);
    }
  };

  const begin = async () => {
    running?.abort();
    const ending = new AbortController();
    running = ending;
    count = 0;
    show(events);
    show(outcome);
    control.disabled = true;
    stop.disabled = false;
    try {
      const asked = new URLSearchParams({ from: from.value || "now" });
      const wanted = jsonOf(filter, "Filter");
      if (wanted !== undefined) asked.set("filter", compact(wanted));
      const ops = kinds.filter((one) => one.checked).map((one) => one.value);
      if (ops.length) asked.set("ops", ops.join(","));
      await run(asked, ending.signal);
    } catch (error) {
      show(outcome, trouble(error));
    } finally {
      if (running === ending) {
        control.disabled = signal.aborted;
        stop.disabled = true;
        show(status, `Not watching. ${count} changes were told.`);
      }
    }
  };

  show(
    target,
    name === null ? h("h1", {}, "Changes") : collectionHead(name, "watch"),
    h(
      "form",
      {
        class: "query",
        "aria-label": "Watch",
        on: {
          submit: (event) => {
            event.preventDefault();
            begin();
          },
        },
      },
      name !== null && field("Filter", filter),
      h(
        "div",
        { class: "row" },
        field("From", from, name === null ? "now, a revision or a token" : "now, snapshot, a revision or a token"),
        h("fieldset", { class: "row" }, h("legend", {}, "Kinds; none: all"), KINDS.map((one, at) => h("label", { class: "check" }, kinds[at], ` ${one}`)))
      ),
      h("div", { class: "row" }, control, stop)
    ),
    status,
    outcome,
    events
  );
}
