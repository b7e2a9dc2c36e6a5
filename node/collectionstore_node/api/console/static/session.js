// Who uses the console. Credentials are in the session storage alone: they end with the tab, and no other origin and
// no later visit has them. Of a password only the token is kept that the API gave for it.

const KEY = "collectionstore.session";

let current = read();

function read() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY)) || { kind: "none" };
  } catch {
    return { kind: "none" };
  }
}

function keep(session) {
  current = session;
  sessionStorage.setItem(KEY, JSON.stringify(session));
}

export const session = {
  // `none` before a sign-in, `token`, `login` (a token that ends when the person signs out), or `ambient`: a client
  // certificate, or no credential where none is needed.
  get kind() {
    return current.kind;
  },
  get header() {
    return current.token && `Bearer ${current.token}`;
  },
  withToken(token) {
    keep({ kind: "token", token });
  },
  withLogin(token) {
    keep({ kind: "login", token });
  },
  withoutCredentials() {
    keep({ kind: "ambient" });
  },
  end() {
    current = { kind: "none" };
    sessionStorage.removeItem(KEY);
  },
};
