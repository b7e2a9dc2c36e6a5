// Makes elements. All text becomes text nodes: there is no way here to make markup of a string.

const SVG = "http://www.w3.org/2000/svg";

function fill(made, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name === "on") for (const [event, run] of Object.entries(value)) made.addEventListener(event, run);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  append(made, children);
  return made;
}

function append(parent, children) {
  for (const child of children.flat(Infinity)) {
    if (child === undefined || child === null || child === false) continue;
    parent.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
}

// An element of HTML. Attributes that are undefined, null or false are left out; `on` has listeners.
export function h(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

// An element of SVG.
export function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, name), attributes, children);
}

// Replaces what is in an element.
export function show(parent, ...children) {
  parent.replaceChildren();
  append(parent, children);
}

// A link to a place of the console: its parts, each encoded.
export function place(...parts) {
  return `#/${parts.map(encodeURIComponent).join("/")}`;
}

export function link(text, ...parts) {
  return h("a", { href: place(...parts) }, text);
}

// A link to another page, if its address is one of the web; else its text.
export function outside(text, address) {
  let url;
  try {
    url = new URL(address);
  } catch {
    return text;
  }
  if (url.protocol !== "http:" && url.protocol !== "https:") return text;
  return h("a", { href: url.href, rel: "noreferrer" }, text);
}

export function button(text, run, attributes = {}) {
  return h("button", { type: "button", ...attributes, on: { click: run } }, text);
}

// A table with a caption. `columns` are its headings; cells are texts or elements.
export function table(caption, columns, rows, attributes = {}) {
  return h(
    "div",
    { class: "scroll", role: "region", "aria-label": caption, tabindex: "0" },
    h(
      "table",
      attributes,
      h("caption", { class: "hidden" }, caption),
      h("thead", {}, h("tr", {}, columns.map((one) => h("th", { scope: "col" }, one)))),
      h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((cell, at) => h("td", { "data-label": columns[at] }, cell)))))
    )
  );
}

// A control with its label.
export function field(label, control, hint) {
  return h("label", { class: "field" }, h("span", {}, label), control, hint && h("small", {}, hint));
}

// Tells those who do not see the page, and shows it for a while to those who do.
export function say(text) {
  const said = document.getElementById("said");
  show(said, text);
  clearTimeout(say.timer);
  say.timer = setTimeout(() => show(said), 8000);
}
