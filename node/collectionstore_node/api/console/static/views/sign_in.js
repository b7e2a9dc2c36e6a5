// The sign-in: by user and password, by a token, or by the client certificate that the browser has.

import { call } from "../api.js";
import { button, field, h, show } from "../dom.js";
import { attempt } from "../parts.js";
import { session } from "../session.js";

export async function signIn(target, context, start, refused) {
  const outcome = h("div", {});
  const token = h("input", { name: "token", type: "password", autocomplete: "off", required: true, spellcheck: "false" });
  const user = h("input", { name: "user", autocomplete: "username", required: true, spellcheck: "false", autocapitalize: "none" });
  const password = h("input", { name: "password", type: "password", autocomplete: "current-password", required: true });

  // Keeps credentials only if the API takes them.
  const tried = async (keep) => {
    await keep();
    try {
      await start();
    } catch (error) {
      session.end();
      throw error;
    }
  };

  const form = (label, fields, keep) => {
    const control = h("button", { type: "submit", class: "primary" }, "Sign in");
    return h(
      "form",
      {
        class: "card",
        "aria-label": label,
        on: {
          submit: (event) => {
            event.preventDefault();
            attempt(control, outcome, () => tried(keep));
          },
        },
      },
      h("h2", {}, label),
      fields,
      control
    );
  };

  // The password is sent once, and not kept.
  const withPassword = async () => {
    const made = await call("POST", "/api/v1/login", { body: { user: user.value, password: password.value }, ends: false });
    session.withLogin(made.token);
  };
  const certificate = button("Use a client certificate", () => attempt(certificate, outcome, () => tried(() => session.withoutCredentials())));

  show(
    target,
    h("h1", {}, "Sign in"),
    refused && h("p", { class: "notice", role: "alert" }, "The credentials are not accepted any more. Sign in again."),
    outcome,
    h(
      "div",
      { class: "cards" },
      form("By user and password", [field("User", user), field("Password", password)], withPassword),
      form("By token", [field("Token", token)], () => session.withToken(token.value.trim()))
    ),
    h("p", {}, certificate, " that this browser has for this address."),
    h("p", { class: "quiet" }, "Credentials are kept in this tab alone, until it is closed or you sign out.")
  );
  user.focus();
}
