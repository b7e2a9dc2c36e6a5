// JSON as the store keeps it: every digit of a number, the order of names, names such as __proto__.
// JSON.parse would lose the first two. Objects are Maps, numbers are `Num`.

export class Num {
  constructor(text) {
    this.text = text;
  }
}

export class BadJson extends Error {
  constructor(detail, at) {
    super(detail);
    this.at = at;
  }
}

const TOKEN = /[ \t\n\r]*(?:([{}[\],:])|("[^"\\\u0000-\u001f]*(?:\\.[^"\\\u0000-\u001f]*)*")|(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)|(true|false|null))/y;
const REST = /[ \t\n\r]*$/y;
const DEPTH_MAX = 128;

class Reader {
  constructor(text) {
    this.text = text;
    this.at = 0;
  }

  // Takes the next token: [kind, text, start].
  next() {
    TOKEN.lastIndex = this.at;
    const found = TOKEN.exec(this.text);
    if (!found) throw this.bad(this.text.slice(this.at).trim() ? "this is not JSON" : "the text ends too early");
    this.at = TOKEN.lastIndex;
    const token = found[1] ?? found[2] ?? found[3] ?? found[4];
    const kind = found[1] ?? (found[2] ? "text" : found[3] ? "number" : "word");
    return [kind, token, this.at - token.length];
  }

  bad(detail, at = this.at) {
    const before = this.text.slice(0, at).split("\n");
    return new BadJson(`line ${before.length}, column ${before[before.length - 1].length + 1}: ${detail}`, at);
  }
}

function textOf(reader, token, start) {
  try {
    return JSON.parse(token);
  } catch {
    throw reader.bad("a text has an escape that is none", start);
  }
}

// Reads a value; `visit` is told the JSON pointer of each value, and where it begins and ends.
function value(reader, pointer, visit, depth, [kind, token, start] = reader.next()) {
  if (depth > DEPTH_MAX) throw reader.bad(`nested more than ${DEPTH_MAX} deep`, start);
  let made;
  if (kind === "{") {
    made = new Map();
    let next = reader.next();
    while (next[0] !== "}") {
      if (next[0] !== "text") throw reader.bad('a name in double quotes, or "}", belongs here', next[2]);
      const name = textOf(reader, next[1], next[2]);
      if (made.has(name)) throw reader.bad("the name is there already", next[2]);
      const colon = reader.next();
      if (colon[0] !== ":") throw reader.bad('":" belongs here', colon[2]);
      made.set(name, value(reader, visit && child(pointer, name), visit, depth + 1));
      next = reader.next();
      if (next[0] === ",") {
        next = reader.next();
        if (next[0] === "}") throw reader.bad('no "," before "}"', next[2]);
      } else if (next[0] !== "}") throw reader.bad('"," or "}" belongs here', next[2]);
    }
  } else if (kind === "[") {
    made = [];
    let next = reader.next();
    while (next[0] !== "]") {
      made.push(value(reader, visit && child(pointer, made.length), visit, depth + 1, next));
      next = reader.next();
      if (next[0] === ",") {
        next = reader.next();
        if (next[0] === "]") throw reader.bad('no "," before "]"', next[2]);
      } else if (next[0] !== "]") throw reader.bad('"," or "]" belongs here', next[2]);
    }
  } else if (kind === "text") made = textOf(reader, token, start);
  else if (kind === "number") made = new Num(token);
  else if (kind === "word") made = { true: true, false: false, null: null }[token];
  else throw reader.bad("a value belongs here", start);
  visit?.(pointer, start, reader.at);
  return made;
}

export function child(pointer, name) {
  return `${pointer}/${String(name).replaceAll("~", "~0").replaceAll("/", "~1")}`;
}

// Returns the value of a JSON text. Throws `BadJson` with line and column.
export function parse(text, visit) {
  const reader = new Reader(text);
  const made = value(reader, "", visit, 0);
  REST.lastIndex = reader.at;
  if (!REST.test(text)) throw reader.bad("nothing belongs behind the value");
  return made;
}

// Returns where in a text the value of a JSON pointer is, or that of the nearest value around it: [start, end].
export function locate(text, pointer) {
  const spans = new Map();
  parse(text, (at, start, end) => spans.set(at, [start, end]));
  let wanted = pointer;
  while (!spans.has(wanted)) wanted = wanted.slice(0, wanted.lastIndexOf("/"));
  return spans.get(wanted);
}

// Returns a value as JSON without white space.
export function compact(given) {
  if (given instanceof Num) return given.text;
  if (Array.isArray(given)) return `[${given.map(compact).join(",")}]`;
  if (given instanceof Map) return `{${[...given].map(([name, one]) => `${JSON.stringify(name)}:${compact(one)}`).join(",")}}`;
  return JSON.stringify(given);
}

// Returns a value as indented JSON.
export function pretty(given, pad = "") {
  const inner = `${pad}  `;
  if (Array.isArray(given) && given.length) {
    return `[\n${given.map((one) => inner + pretty(one, inner)).join(",\n")}\n${pad}]`;
  }
  if (given instanceof Map && given.size) {
    return `{\n${[...given].map(([name, one]) => `${inner}${JSON.stringify(name)}: ${pretty(one, inner)}`).join(",\n")}\n${pad}}`;
  }
  return compact(given);
}

// Yields the tokens of a JSON text: [kind, token, start].
function* tokens(text) {
  const reader = new Reader(text);
  while (!(REST.lastIndex = reader.at, REST.test(text))) yield reader.next();
}

// Returns a JSON text without white space between its tokens, which stay as they are.
export function tight(text) {
  return Array.from(tokens(text), ([, token]) => token).join("");
}

// Returns a JSON text with line breaks, all of its tokens as they are: numbers and escapes keep their spelling.
export function indented(text) {
  const made = [];
  let depth = 0;
  let before = "";
  const line = () => made.push("\n", "  ".repeat(depth));
  for (const [kind, token] of tokens(text)) {
    if (kind === "}" || kind === "]") {
      depth -= 1;
      if (before !== "{" && before !== "[") line();
    } else if (before === "{" || before === "[" || before === ",") line();
    made.push(token, kind === ":" ? " " : "");
    if (kind === "{" || kind === "[") depth += 1;
    before = kind;
  }
  return made.join("");
}

// Returns the beginning of a value as one line of at most `most` characters, without making all of its text.
export function summary(given, most = 160) {
  const made = [];
  let left = most;
  const put = (text) => {
    made.push(text.length > left ? text.slice(0, Math.max(0, left)) : text);
    left -= text.length;
    return left > 0;
  };
  const walk = (one) => {
    if (left <= 0) return;
    if (one instanceof Num) put(one.text);
    else if (typeof one === "string") put(JSON.stringify(one.slice(0, left + 1)));
    else if (Array.isArray(one)) {
      put("[");
      for (let at = 0; at < one.length && left > 0; at += 1) {
        if (at) put(", ");
        walk(one[at]);
      }
      put("]");
    } else if (one instanceof Map) {
      put("{");
      let first = true;
      for (const [name, inside] of one) {
        if (!put(`${first ? "" : ", "}${JSON.stringify(name.slice(0, left + 1))}: `)) break;
        first = false;
        walk(inside);
      }
      put("}");
    } else put(String(one));
  };
  walk(given);
  return left < 0 ? `${made.join("")}…` : made.join("");
}

// Returns a value of the standard library's kinds: for answers whose numbers are small.
export function plain(given) {
  if (given instanceof Num) return Number(given.text);
  if (Array.isArray(given)) return given.map(plain);
  if (given instanceof Map) {
    const made = Object.create(null);
    for (const [name, one] of given) made[name] = plain(one);
    return made;
  }
  return given;
}

export function same(one, other) {
  return one === other || (one !== undefined && other !== undefined && compact(one) === compact(other));
}

// Returns what changed between two values: a list of {pointer, before, after}; undefined stands for nothing.
export function changes(before, after, pointer = "") {
  if (same(before, after)) return [];
  if (!(before instanceof Map) || !(after instanceof Map)) return [{ pointer, before, after }];
  const names = new Set([...before.keys(), ...after.keys()]);
  return [...names].flatMap((name) => changes(before.get(name), after.get(name), child(pointer, name)));
}

// Merges two changes of one value, object by object: {merged, conflicts}, the pointers at which both changed it.
export function merge(base, mine, theirs, pointer = "") {
  if (same(mine, theirs) || same(base, theirs)) return { merged: mine, conflicts: [] };
  if (same(base, mine)) return { merged: theirs, conflicts: [] };
  if (!(mine instanceof Map) || !(theirs instanceof Map)) return { merged: mine, conflicts: [pointer] };
  const origin = base instanceof Map ? base : new Map();
  const merged = new Map();
  const conflicts = [];
  for (const name of new Set([...theirs.keys(), ...mine.keys()])) {
    const part = merge(origin.get(name), mine.get(name), theirs.get(name), child(pointer, name));
    conflicts.push(...part.conflicts);
    if (part.merged !== undefined) merged.set(name, part.merged);
  }
  return { merged, conflicts };
}
