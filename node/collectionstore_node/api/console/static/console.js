// The console: finds the view of an address, and shows it to those who have signed in.

import { call, get, onExpired, Problem } from "./api.js";
import { h, link, say, show } from "./dom.js";
import { ask, trouble } from "./parts.js";
import { session } from "./session.js";
import { access } from "./views/access.js";
import { audit } from "./views/audit.js";
import { collections } from "./views/collections.js";
import { editor } from "./views/editor.js";
import { documents } from "./views/documents.js";
import { explain } from "./views/explain.js";
import { indexes } from "./views/indexes.js";
import { overview } from "./views/overview.js";
import { schema } from "./views/schema.js";
import { signIn } from "./views/sign_in.js";
import { watch } from "./views/watch.js";

const main = document.getElementById("main");
const sections = document.getElementById("sections");
const who = document.getElementById("who");
const out = document.getElementById("sign-out");
const enter = document.getElementById("sign-in");

const SECTIONS = [
  ["Overview", []],
  ["Collections", ["collections"]],
  ["Changes", ["watch"]],
  ["Access", ["access"]],
  ["Audit", ["audit"]],
];

const OF_COLLECTION = { explain, indexes, watch, schema };

let shown = null;
let guard = null;
let refused = null;

// The parts of an address, decoded: `#/collections/books` has two.
function parts() {
  const path = location.hash.replace(/^#\/?/, "").split("?")[0];
  try {
    return path ? path.split("/").map(decodeURIComponent) : [];
  } catch {
    return ["unknown"];
  }
}

function query() {
  return new URLSearchParams(location.hash.split("?")[1] || "");
}

function viewOf(given) {
  const [section, name, view, id] = given;
  if (!section) return [overview];
  if (section === "collections" && !name) return [collections];
  if (section === "collections" && view === "documents" && id !== undefined) return [editor, name, id];
  if (section === "collections" && view === "new") return [editor, name, null];
  if (section === "collections" && (!view || view === "documents")) return [documents, name];
  if (section === "collections" && Object.hasOwn(OF_COLLECTION, view)) return [OF_COLLECTION[view], name];
  if (section === "watch") return [watch, null];
  if (section === "access") return [access];
  if (section === "audit") return [audit];
  return [unknown];
}

async function unknown(target) {
  show(target, h("h1", {}, "Nothing is here"), h("p", {}, link("To the overview")));
}

async function render() {
  shown?.abort();
  const current = new AbortController();
  shown = current;
  guard = null;
  const given = parts();
  const signedIn = session.kind !== "none";
  sections.hidden = !signedIn;
  out.hidden = !signedIn || session.kind === "ambient";
  enter.hidden = session.kind !== "ambient";
  if (!signedIn) {
    show(who);
    await view(current, signIn, [start, refused]);
    return;
  }
  show(
    sections,
    SECTIONS.map(([label, place]) => h("a", { href: `#/${place.join("/")}`, "aria-current": (given[0] ?? "") === (place[0] ?? "") ? "page" : null }, label))
  );
  const [run, ...rest] = viewOf(given);
  await view(current, run, rest);
}

async function view(current, run, rest) {
  const target = h("div", { class: "view" });
  show(main, target);
  const context = {
    signal: current.signal,
    query: query(),
    // What is asked before the view is left, while it has what is not saved.
    guard: (ask) => {
      if (!current.signal.aborted) guard = ask;
    },
  };
  try {
    await run(target, context, ...rest);
  } catch (error) {
    if (current.signal.aborted) return;
    show(target, trouble(error, { again: render }));
  }
  if (current.signal.aborted) return;
  const title = main.querySelector("h1");
  document.title = title ? `${title.textContent} – Collection Store` : "Collection Store";
}

// What is shown of who uses the console. Throws where the API does not take these credentials.
async function identify() {
  const found = await get("/api/v1/whoami", { ends: false });
  const known = found.user && found.method !== "anonymous" ? found.user : "";
  const without = found.mode === "Disabled" ? "access control is off" : "";
  show(who, [known, without].filter(Boolean).join(", "));
}

async function start() {
  await identify();
  refused = null;
  await render();
}

onExpired((problem) => {
  // Without a credential a refusal is about that request, and there is nothing to end.
  if (!session.header) return;
  session.end();
  refused = problem;
  queueMicrotask(render);
});

function leave() {
  session.end();
  // The page is loaded anew, so that nothing of the session is left in memory.
  location.replace("/console");
}

out.addEventListener("click", async () => {
  if (session.kind === "login") {
    try {
      await call("POST", "/api/v1/logout");
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      const text = "The member could not end the session. It ends by itself, and nothing of it is kept here.";
      if (error.status !== 401 && !(await ask("Sign out here alone?", h("p", {}, text), { confirm: "Sign out" }))) return;
    }
  }
  leave();
});

enter.addEventListener("click", () => {
  session.end();
  render();
});

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

let staying = null;

window.addEventListener("hashchange", async (event) => {
  if (staying === location.hash) {
    staying = null;
    return;
  }
  if (guard && !(await guard())) {
    staying = new URL(event.oldURL).hash;
    location.hash = staying;
    return;
  }
  await render();
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
});

window.addEventListener("beforeunload", (event) => {
  if (guard) event.preventDefault();
});

const KEYS = [
  ["/", "go to the first field of the view"],
  ["g then o", "overview"],
  ["g then c", "collections"],
  ["g then w", "changes"],
  ["Ctrl+Enter", "run the query, or save the document"],
  ["?", "this list"],
];

let leading = false;

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, textarea, select, dialog");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (leading && { o: 1, c: 1, w: 1 }[event.key]) {
    location.hash = { o: "#/", c: "#/collections", w: "#/watch" }[event.key];
  } else if (event.key === "/") {
    event.preventDefault();
    main.querySelector("input:not([type=checkbox]), textarea")?.focus();
  } else if (event.key === "?") {
    ask("Keys", h("dl", { class: "keys" }, KEYS.map(([key, text]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, text)])));
  }
  leading = event.key === "g";
});

// A mistake of the console itself: said, not hidden.
window.addEventListener("unhandledrejection", (event) => {
  if (event.reason?.name === "AbortError") return;
  say("The console made a mistake. Load it again.");
});

async function begin() {
  const before = session.kind;
  // Where no credential is needed, none is asked for.
  if (before === "none") session.withoutCredentials();
  try {
    await identify();
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    if (error.status !== 401) {
      if (before === "none") session.end();
      show(main, trouble(error, { again: begin }));
      return;
    }
    session.end();
    refused = before === "none" ? null : error;
  }
  await render();
}

begin();
