// What sparklines show, from two scrapes of /metrics. Only requests for data count: not probes, pages and watches.

const HISTORY = 60;
const SAMPLE = /^(collectionstore_http_requests_total|collectionstore_http_request_duration_seconds_bucket|collectionstore_revision)(?:\{((?:[^"}]|"(?:[^"\\]|\\.)*")*)\})? ([^ ]+)/;
const LABEL = /([a-z_]+)="((?:[^"\\]|\\.)*)"/g;

function counted(route) {
  return Boolean(route) && route.startsWith("/api/v1/") && !route.endsWith(":watch") && route !== "/api/v1/stream" && route !== "/api/v1/cluster";
}

// Reads an exposition: {requests, failed, refused, buckets, revision}, sums over all routes of data.
export function read(text) {
  const found = { requests: 0, failed: 0, refused: 0, revision: 0, buckets: new Map() };
  for (const line of text.split("\n")) {
    const sample = SAMPLE.exec(line);
    if (!sample) continue;
    const [, name, labelled, given] = sample;
    const labels = Object.fromEntries([...(labelled || "").matchAll(LABEL)].map(([, key, value]) => [key, value]));
    const value = Number(given);
    if (name === "collectionstore_revision") found.revision = value;
    else if (!counted(labels.route)) continue;
    else if (name === "collectionstore_http_requests_total") {
      found.requests += value;
      if (labels.code >= "500") found.failed += value;
      else if (labels.code >= "400") found.refused += value;
    } else {
      const most = labels.le === "+Inf" ? Infinity : Number(labels.le);
      found.buckets.set(most, (found.buckets.get(most) || 0) + value);
    }
  }
  return found;
}

// Returns a quantile in seconds of what was counted between two scrapes; null if there was nothing.
function quantile(before, after, share) {
  const bounds = [...after.buckets.keys()].sort((one, other) => one - other);
  const counts = bounds.map((most) => after.buckets.get(most) - (before.buckets.get(most) || 0));
  const total = counts[counts.length - 1] || 0;
  if (!(total > 0)) return null;
  const rank = share * total;
  const at = counts.findIndex((count) => count >= rank);
  if (bounds[at] === Infinity) return bounds[at - 1] ?? null;
  const least = at ? bounds[at - 1] : 0;
  const below = at ? counts[at - 1] : 0;
  return least + ((bounds[at] - least) * (rank - below)) / Math.max(1, counts[at] - below);
}

export class History {
  constructor() {
    this.points = [];
    this.last = null;
  }

  // Takes a scrape made at `at`, in milliseconds of a clock that goes on.
  add(text, at) {
    const now = read(text);
    const before = this.last;
    this.last = { at, now };
    if (!before) return;
    const seconds = Math.max(0.001, (at - before.at) / 1000);
    // A counter that fell is that of a process that was restarted.
    if (now.requests < before.now.requests) return;
    const rate = (name) => (now[name] - before.now[name]) / seconds;
    const median = quantile(before.now, now, 0.5);
    const high = quantile(before.now, now, 0.99);
    this.points.push({
      requests: rate("requests"),
      failed: rate("failed"),
      refused: rate("refused"),
      median: median === null ? null : median * 1000,
      high: high === null ? null : high * 1000,
    });
    if (this.points.length > HISTORY) this.points.shift();
  }

  series(name) {
    return this.points.map((one) => one[name]);
  }
}
