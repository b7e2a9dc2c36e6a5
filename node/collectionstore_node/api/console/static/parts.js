// Parts that several views share: problems, dialogs, tabs of a collection, polling.

import { Problem } from "./api.js";
import { button, h, link, place, show } from "./dom.js";
import { BadJson } from "./json.js";

const ADVICE = {
  unauthorized: "Sign in with a credential that may do this.",
  too_many_attempts: "Wait before you try again.",
  access_lockout: "Without this the store could not be administered any more.",
  forbidden: "Your roles do not allow this. An administrator can grant it.",
  upgrade_pending: "All members must run this version first.",
  no_leader: "The cluster has no leader at the moment. Try again soon.",
  overloaded: "The member has too much to do. Try again soon.",
  outcome_unknown: "It may have been done, or may still be. Read again before you repeat it.",
};

// A box that says what went wrong; `at` is called with a JSON pointer when a person wants to see the place of a mistake.
export function trouble(error, { again, at } = {}) {
  if (error.name === "AbortError") return null;
  if (!(error instanceof Problem) && !(error instanceof BadJson)) throw error;
  const problem = error instanceof Problem;
  const places = problem ? error.errors.slice(0, 32) : [];
  return h(
    "div",
    { class: "trouble", role: "alert" },
    h("strong", {}, problem ? error.title : "This is not JSON"),
    h("p", {}, error.message),
    problem && ADVICE[error.code] && h("p", {}, ADVICE[error.code]),
    places.length > 0 &&
      h(
        "ul",
        {},
        places.map((one) => {
          const pointer = String(one.pointer ?? "");
          const shown = pointer || "the whole";
          return h("li", {}, at ? button(shown, () => at(pointer), { class: "inline" }) : h("code", {}, shown), ` ${one.detail ?? ""}`);
        })
      ),
    problem && error.status > 0 && h("p", { class: "quiet" }, `${error.status} ${error.code}${error.requestId ? `, request ${error.requestId}` : ""}`),
    again && button("Try again", again)
  );
}

// Fills an element by what `load` returns, and says what went wrong. Returns whether it went well.
export async function into(parent, load) {
  parent.setAttribute("aria-busy", "true");
  try {
    show(parent, await load());
    return true;
  } catch (error) {
    if (error.name === "AbortError") return false;
    show(parent, trouble(error, { again: () => into(parent, load) }));
    return false;
  } finally {
    parent.removeAttribute("aria-busy");
  }
}

// Runs what a button began, once at a time, and shows what went wrong in `place`.
export async function attempt(control, outcome, run, options = {}) {
  if (control.disabled) return;
  control.disabled = true;
  show(outcome);
  try {
    await run();
  } catch (error) {
    show(outcome, trouble(error, options));
    outcome.scrollIntoView({ block: "nearest" });
  } finally {
    control.disabled = false;
  }
}

// Asks in a dialog: resolves to the form's values, or null. `body` is what it shows, `expected` a text to be typed.
export function ask(title, body, { confirm = "OK", danger = false, expected } = {}) {
  return new Promise((resolve) => {
    const typed = expected !== undefined && h("input", { name: "typed", autocomplete: "off", spellcheck: "false" });
    const ok = h("button", { type: "submit", class: danger ? "danger" : "primary", disabled: Boolean(typed) }, confirm);
    const dialog = h(
      "dialog",
      { "aria-labelledby": "asked" },
      h(
        "form",
        {
          on: {
            submit: (event) => {
              event.preventDefault();
              // A dialog confirms what was typed, also with Enter.
              if (typed && typed.value !== expected) return;
              done(Object.fromEntries(new FormData(event.target)));
            },
          },
        },
        h("h2", { id: "asked" }, title),
        body,
        typed && h("label", { class: "field" }, h("span", {}, "Type ", h("code", {}, expected), " to confirm"), typed),
        h("div", { class: "row" }, ok, button("Cancel", () => done(null)))
      )
    );
    const before = document.activeElement;
    function done(value) {
      dialog.close();
      dialog.remove();
      if (before?.isConnected) before.focus();
      resolve(value);
    }
    if (typed) typed.addEventListener("input", () => (ok.disabled = typed.value !== expected));
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      done(null);
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}

const TABS = [
  ["Documents", "documents"],
  ["Explain", "explain"],
  ["Indexes", "indexes"],
  ["Watch", "watch"],
  ["Schema", "schema"],
];

// The head of all views of a collection.
export function collectionHead(name, current) {
  return [
    h("p", { class: "path" }, link("Collections", "collections"), " / ", h("b", {}, name)),
    h("h1", {}, name),
    h(
      "nav",
      { class: "tabs", "aria-label": `Views of ${name}` },
      TABS.map(([label, view]) =>
        h("a", { href: place("collections", name, view), "aria-current": view === current ? "page" : null }, label)
      )
    ),
  ];
}

// Runs `step` now and then every `milliseconds` until the view is left; rests while the page is not looked at.
export function poll(signal, milliseconds, step) {
  let timer;
  let running = false;
  const turn = async () => {
    clearTimeout(timer);
    if (signal.aborted || running) return;
    if (!document.hidden) {
      running = true;
      try {
        await step();
      } finally {
        running = false;
      }
    }
    if (!signal.aborted) timer = setTimeout(turn, milliseconds);
  };
  document.addEventListener("visibilitychange", () => document.hidden || turn(), { signal });
  signal.addEventListener("abort", () => clearTimeout(timer));
  return turn();
}

export function number(value) {
  return value === null || value === undefined ? "–" : Number(value).toLocaleString("en");
}

export function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let at = 0;
  let left = Number(value);
  while (left >= 1024 && at < units.length - 1) {
    left /= 1024;
    at += 1;
  }
  return `${left < 10 && at ? left.toFixed(1) : Math.round(left)} ${units[at]}`;
}

export function duration(milliseconds) {
  const seconds = milliseconds / 1000;
  if (seconds < 1) return `${Math.round(milliseconds)} ms`;
  if (seconds < 90) return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 129600) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86400)} days`;
}

// A state as a sign and a word: never by colour alone.
export function state(kind, text) {
  const signs = { good: "✓", bad: "✗", busy: "…", warn: "!", none: "–" };
  return h("span", { class: `state ${kind}` }, h("span", { "aria-hidden": "true" }, `${signs[kind]} `), text);
}
