// Sparklines: a line, its last value as text, and what it shows in words.

import { h, svg } from "./dom.js";

const WIDTH = 240;
const HEIGHT = 48;
const POINTS = 60;

function shown(value, unit) {
  if (value === null || value === undefined) return "–";
  return `${value >= 100 ? Math.round(value) : value >= 10 ? value.toFixed(1) : value.toFixed(2)} ${unit}`;
}

// `values` are numbers or null, the newest last; at most the last 60 are drawn.
export function spark(title, values, unit) {
  const drawn = values.slice(-POINTS);
  const known = drawn.filter((one) => one !== null && Number.isFinite(one));
  const most = Math.max(...known, 0);
  const top = most || 1;
  const x = (at) => WIDTH - (drawn.length - 1 - at) * (WIDTH / (POINTS - 1));
  const y = (value) => HEIGHT - 3 - (value / top) * (HEIGHT - 8);
  let path = "";
  let pen = "M";
  drawn.forEach((value, at) => {
    if (value === null || !Number.isFinite(value)) pen = "M";
    else {
      path += `${pen}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
      pen = "L";
    }
  });
  const last = drawn.length ? drawn[drawn.length - 1] : null;
  const words = known.length
    ? `${title}: now ${shown(last, unit)}, at most ${shown(most, unit)} in the last ${drawn.length} samples`
    : `${title}: nothing measured yet`;
  return h(
    "figure",
    { class: "spark" },
    h("figcaption", {}, h("span", {}, title), h("b", {}, shown(last, unit))),
    svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": words, preserveAspectRatio: "none" },
      svg("path", { class: "base", d: `M0 ${HEIGHT - 3}H${WIDTH}` }),
      path && svg("path", { class: "line", d: path })
    ),
    h("small", {}, known.length ? `at most ${shown(most, unit)}` : "waiting for requests")
  );
}
