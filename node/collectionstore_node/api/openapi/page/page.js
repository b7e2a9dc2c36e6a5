// Renders /openapi.json. All text is set as text, never as markup.
"use strict";

const DEPTH_MAX = 4;

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

// Text of which what is in backticks is code.
function prose(name, text, attributes = {}) {
  const made = element(name, undefined, attributes);
  made.append(...text.split("`").map((part, at) => (at % 2 ? element("code", part) : part)));
  return made;
}

function resolved(api, schema) {
  if (!schema || !schema.$ref) return schema || {};
  return schema.$ref.split("/").slice(1).reduce((found, part) => found[part], api);
}

// A schema as an example-like text: names, types, and which fields may be left out.
function shape(api, given, depth = 0) {
  const schema = resolved(api, given);
  const pad = "  ".repeat(depth + 1);
  const choices = schema.anyOf || schema.oneOf;
  if (choices) return choices.map((one) => shape(api, one, depth)).join(" | ");
  if (schema.enum) return schema.enum.length > 8 ? schema.type || "string" : schema.enum.map((one) => JSON.stringify(one)).join(" | ");
  if (schema.const !== undefined) return JSON.stringify(schema.const);
  if (schema.properties) {
    if (depth >= DEPTH_MAX) return "{...}";
    const required = new Set(schema.required || []);
    const fields = Object.entries(schema.properties).map(
      ([name, one]) => `${pad}${JSON.stringify(name)}${required.has(name) ? "" : "?"}: ${shape(api, one, depth + 1)}`
    );
    return `{\n${fields.join(",\n")}\n${"  ".repeat(depth)}}`;
  }
  if (schema.type === "array") return `[${shape(api, schema.items, depth)}, ...]`;
  if (Array.isArray(schema.type)) return schema.type.join(" | ");
  if (schema.type === "object") return "{...}";
  return schema.type || "any";
}

function rows(pairs) {
  const table = element("table");
  for (const cells of pairs) {
    const row = element("tr");
    for (const cell of cells) {
      const column = element("td");
      column.append(typeof cell === "string" ? document.createTextNode(cell) : cell);
      row.append(column);
    }
    table.append(row);
  }
  return table;
}

function contents(api, content) {
  const made = [];
  for (const [type, media] of Object.entries(content || {})) {
    made.push(element("p", type));
    if (media.schema) made.push(element("pre", shape(api, media.schema)));
  }
  return made;
}

function operation(api, path, method, described) {
  const section = element("section", undefined, { id: described.operationId });
  const title = element("h3");
  title.append(element("span", method.toUpperCase(), { class: "method" }), ` ${path}`);
  section.append(title, prose("p", described.summary));
  if (described.parameters.length) {
    section.append(element("h4", "Parameters"));
    section.append(
      rows(
        described.parameters.map((one) => [
          element("code", one.name),
          one.in,
          one.schema.enum ? one.schema.enum.join(" | ") : one.schema.type,
          prose("span", one.description || ""),
        ])
      )
    );
  }
  if (described.requestBody) section.append(element("h4", "Body"), ...contents(api, described.requestBody.content));
  section.append(element("h4", "Answers"));
  for (const [status, answer] of Object.entries(described.responses)) {
    const found = resolved(api, answer);
    section.append(prose("p", `${status}: ${found.description}`));
    if (status !== "default") section.append(...contents(api, found.content));
  }
  return section;
}

function render(api) {
  const main = document.getElementById("operations");
  const nav = document.getElementById("contents");
  document.getElementById("title").textContent = `${api.info.title} API ${api.info.version}`;
  document.getElementById("about").append(...prose("p", api.info.description).childNodes);
  main.textContent = "";
  const entries = [];
  for (const tag of api.tags) {
    nav.append(element("h2", tag.name));
    for (const [path, methods] of Object.entries(api.paths)) {
      for (const [method, described] of Object.entries(methods)) {
        if (!described.tags.includes(tag.name)) continue;
        const section = operation(api, path, method, described);
        const link = element("a", `${method.toUpperCase()} ${path}`, { href: `#${described.operationId}` });
        main.append(section);
        nav.append(link);
        entries.push({ text: `${method} ${path} ${described.summary}`.toLowerCase(), section, link });
      }
    }
  }
  main.append(element("h2", "Problems"), element("pre", shape(api, { $ref: "#/components/schemas/ProblemDetails" })));
  document.getElementById("find").addEventListener("input", (event) => {
    const wanted = event.target.value.toLowerCase();
    for (const { text, section, link } of entries) section.hidden = link.hidden = !text.includes(wanted);
  });
  if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();
}

fetch("/openapi.json")
  .then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error(`status ${answer.status}`))))
  .then(render)
  .catch((error) => {
    document.getElementById("operations").textContent = `openapi.json could not be shown: ${error.message}`;
  });
