// The audit log. It leaves the members by its sinks, and no route of the API reads it back: this says so, and how to.

import { h, show } from "../dom.js";

export async function audit(target) {
  show(
    target,
    h("h1", {}, "Audit"),
    h("p", {}, "Members write who did what to the sinks of the audit log: files, OTLP or a webhook. The API does not give it back, so that who may read data may not read who else does; this page has nothing to show of it."),
    h("p", {}, "Read it where it is written, and verify that nothing was cut from it with ", h("code", {}, "csctl audit verify FILE"), "."),
    h("p", {}, "What changes in the data itself, without who did it, is in ", h("a", { href: "#/watch" }, "Changes"), ".")
  );
}
