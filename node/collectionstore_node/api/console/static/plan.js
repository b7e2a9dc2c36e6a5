// An explanation as a tree: what reads documents at the bottom, the answer at the top. `tree` is plain data.

import { h, svg } from "./dom.js";
import { bytes, duration, number } from "./parts.js";

const BOX = { width: 250, height: 74, gapX: 24, gapY: 34 };

function access(plan, collection) {
  if (plan.kind === "index") {
    const lines = [`${number(plan.fields)} ${plan.fields === 1 ? "field" : "fields"} in ${number(plan.ranges)} ${plan.ranges === 1 ? "range" : "ranges"}`];
    if (plan.covered) lines.push("covered: no documents are read");
    return { title: `Index ${plan.index}`, lines, kind: "good" };
  }
  if (plan.kind === "ids") return { title: "Single IDs", lines: [`of ${collection}`], kind: "good" };
  if (plan.kind === "span") return { title: "Range of IDs", lines: [`of ${collection}`], kind: "good" };
  return { title: "Whole collection", lines: [`reads all of ${collection}`], kind: "warn" };
}

function read(collection, explain) {
  const { plan } = explain;
  const source = access(plan, collection);
  if (plan.kind === "index") source.lines.unshift(`${number(explain.keys_examined)} entries read`);
  const documents = {
    title: "Read and filter documents",
    lines: [`${number(explain.examined)} documents, ${bytes(explain.examined_bytes)}`],
    kind: "plain",
    children: [{ ...source, children: [] }],
  };
  if (plan.kind === "index" && plan.covered && explain.examined === 0) return documents.children[0];
  return documents;
}

// The tree of a find: `explain` is that of its answer.
export function findTree(collection, explain, { skip = 0, limit } = {}) {
  let node = read(collection, explain);
  if (explain.plan.sort === "memory") node = { title: "Sort in memory", lines: ["no index has this order"], kind: "warn", children: [node] };
  if (skip || limit) {
    const lines = [skip ? `leaves out ${number(skip)}` : "", limit ? `at most ${number(limit)}` : ""].filter(Boolean);
    node = { title: "Page", lines, kind: "plain", children: [node] };
  }
  return { title: "Answer", lines: [`${number(explain.returned)} documents in ${duration(explain.elapsed_ms)}`], kind: "answer", children: [node] };
}

// The tree of an aggregation: its stages, with what they join beside them.
export function aggregateTree(collection, explain) {
  let node = read(collection, { ...explain });
  const joins = [...(explain.joins || [])];
  for (const stage of explain.stages || []) {
    const children = [node];
    if ((stage.stage === "$lookup" || stage.stage === "$unionWith") && joins.length) {
      const join = joins.shift();
      const source = access(join.plan, join.collection);
      children.push({ ...source, title: `${join.collection}: ${source.title}`, children: [] });
    }
    node = { title: stage.stage, lines: [`takes ${number(stage.taken)}, makes ${number(stage.made)}`], kind: "plain", children };
  }
  // Joins of pipelines inside of a join are stages of no list.
  for (const join of joins) {
    const source = access(join.plan, join.collection);
    node.children.push({ ...source, title: `${join.collection}: ${source.title}`, children: [] });
  }
  return {
    title: "Answer",
    lines: [`${number(explain.returned)} documents in ${duration(explain.elapsed_ms)}`, `kept at most ${bytes(explain.kept_bytes || 0)}`],
    kind: "answer",
    children: [node],
  };
}

function laidOut(node, depth, place) {
  const children = (node.children || []).map((one) => laidOut(one, depth + 1, place));
  const x = children.length ? (children[0].x + children[children.length - 1].x) / 2 : place.next++;
  place.depth = Math.max(place.depth, depth);
  return { node, children, x, depth };
}

function cut(text, most = 34) {
  return text.length > most ? `${text.slice(0, most - 1)}…` : text;
}

function described(node) {
  return h("li", {}, h("b", {}, node.title), node.lines.length > 0 && `: ${node.lines.join("; ")}`, node.children?.length > 0 && h("ul", {}, node.children.map(described)));
}

// The picture of a tree, and the same in words.
export function picture(tree) {
  const place = { next: 0, depth: 0 };
  const root = laidOut(tree, 0, place);
  const width = place.next * (BOX.width + BOX.gapX) - BOX.gapX + 4;
  const height = (place.depth + 1) * (BOX.height + BOX.gapY) - BOX.gapY + 4;
  const left = (one) => 2 + one.x * (BOX.width + BOX.gapX);
  const top = (one) => 2 + one.depth * (BOX.height + BOX.gapY);
  const drawn = [];
  const draw = (one) => {
    for (const child of one.children) {
      draw(child);
      const fromX = left(child) + BOX.width / 2;
      const toX = left(one) + BOX.width / 2;
      const from = top(child);
      const to = top(one) + BOX.height;
      const middle = (from + to) / 2;
      drawn.push(svg("path", { class: "edge", d: `M${fromX} ${from}C${fromX} ${middle} ${toX} ${middle} ${toX} ${to + 5}`, "marker-end": "url(#arrow)" }));
    }
    drawn.push(
      svg(
        "g",
        { class: `box ${one.node.kind}`, transform: `translate(${left(one)} ${top(one)})` },
        svg("title", {}, [one.node.title, ...one.node.lines].join("; ")),
        svg("rect", { width: BOX.width, height: BOX.height, rx: 6 }),
        svg("text", { class: "head", x: 14, y: 24 }, cut(one.node.title, 28)),
        one.node.lines.slice(0, 2).map((text, at) => svg("text", { x: 14, y: 44 + 18 * at }, cut(text)))
      )
    );
  };
  draw(root);
  return [
    h(
      "div",
      { class: "scroll", role: "region", "aria-label": "The plan as a picture", tabindex: "0" },
      svg(
        "svg",
        { class: "plan", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": "The plan as a tree; the list below says the same in words" },
        svg("defs", {}, svg("marker", { id: "arrow", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 8, markerHeight: 8, orient: "auto" }, svg("path", { class: "tip", d: "M0 0L8 4L0 8z" }))),
        drawn
      )
    ),
    h("details", {}, h("summary", {}, "The plan in words"), h("ul", { class: "words" }, described(tree))),
  ];
}
