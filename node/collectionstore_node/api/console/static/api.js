// Requests to the API of this member, by the credentials of the session.

import { parse } from "./json.js";
import { session } from "./session.js";

// A refusal: problem details of the API, or that there was no answer at all.
export class Problem extends Error {
  constructor(status, body, fallback) {
    super(body?.detail || fallback);
    this.status = status;
    this.code = body?.code || "no_answer";
    this.title = body?.title || "No answer";
    this.errors = Array.isArray(body?.errors) ? body.errors : [];
    this.outcome = body?.outcome;
    this.requestId = body?.request_id;
    this.body = body || {};
  }
}

// What is told when the API no longer takes the credentials; not of requests that try them, with `ends: false`.
let expired = () => {};

export function onExpired(run) {
  expired = run;
}

export function segment(text) {
  return encodeURIComponent(text);
}

export function collection(name, rest = "") {
  return `/api/v1/collections/${segment(name)}${rest}`;
}

export function documentOf(name, id) {
  return collection(name, `/documents/${segment(id)}`);
}

// A key for a write: the API runs it once, however often it arrives.
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (one) => one.toString(16).padStart(2, "0")).join("");
}

export async function open(method, path, { body, type = "application/json", headers = {}, signal, ends = true } = {}) {
  const sent = { ...headers };
  if (session.header) sent.Authorization = session.header;
  if (body !== undefined) sent["Content-Type"] = type;
  const given = body === undefined || typeof body === "string" ? body : JSON.stringify(body);
  let answer;
  try {
    answer = await fetch(path, {
      method,
      headers: sent,
      body: given,
      signal,
      cache: "no-store",
      redirect: "error",
      // With a credential of its own a request shows no other one, and the browser asks for none in a window.
      credentials: session.kind === "ambient" ? "same-origin" : "omit",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, null, "the member does not answer");
  }
  if (answer.ok || answer.status === 304) return answer;
  const text = await answer.text();
  let found = null;
  try {
    found = JSON.parse(text);
  } catch {
    // No problem details: a proxy has answered.
  }
  const problem = new Problem(answer.status, found, `the answer has the status ${answer.status}`);
  if (answer.status === 401 && ends) expired(problem);
  throw problem;
}

// Sends a request: {text, headers, status}.
export async function send(method, path, options) {
  const answer = await open(method, path, options);
  return { text: await answer.text(), headers: answer.headers, status: answer.status };
}

// Sends one and returns its answer as values of the standard library.
export async function call(method, path, options) {
  const { text } = await send(method, path, options);
  return text ? JSON.parse(text) : null;
}

export const get = (path, options) => call("GET", path, options);

// Sends one whose answer has documents: every digit of them is kept.
export async function exact(method, path, options) {
  return parse((await send(method, path, options)).text);
}

// Yields the lines of an answer without an end, each parsed.
export async function* lines(path, options) {
  const answer = await open("GET", path, { ...options, headers: { Accept: "application/x-ndjson" } });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  const waiting = [];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const parts = value.split("\n");
      waiting.push(parts[0]);
      for (const part of parts.slice(1)) {
        const line = waiting.join("");
        waiting.length = 0;
        waiting.push(part);
        if (line.trim()) yield parse(line);
      }
    }
  } finally {
    // Also when the caller has had enough: the member must not go on sending. Of a connection that was lost this fails
    // with what was thrown above already.
    await reader.cancel().catch(() => {});
  }
}
