// Who uses the console. Credentials are in the session storage alone: they end with the tab, and no other origin and
// no later visit has them.

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
  // `none` before a sign-in, `bearer`, `basic`, or `ambient`: a client certificate, or no credential where none is needed.
  get kind() {
    return current.kind;
  },
  get header() {
    return current.header;
  },
  withToken(token) {
    keep({ kind: "bearer", header: `Bearer ${token}` });
  },
  withPassword(user, password) {
    const bytes = new TextEncoder().encode(`${user}:${password}`);
    keep({ kind: "basic", header: `Basic ${btoa(String.fromCharCode(...bytes))}` });
  },
  withoutCredentials() {
    keep({ kind: "ambient" });
  },
  end() {
    current = { kind: "none" };
    sessionStorage.removeItem(KEY);
  },
};
