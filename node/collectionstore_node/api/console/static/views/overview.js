// The cluster as this member sees it: members, conditions, what is under way, and what this member serves.

import { get, Problem, send } from "../api.js";
import { h, outside, show, table } from "../dom.js";
import { History } from "../metrics.js";
import { bytes, duration, number, poll, state, trouble } from "../parts.js";
import { spark } from "../spark.js";

const EVERY_MS = 5000;

function role(member, cluster) {
  const leads = cluster.leader?.node_id === member.node_id;
  return leads ? h("b", {}, "Leader") : member.role;
}

function lag(member) {
  if (member.lag === null || member.lag === undefined) return h("span", { class: "quiet" }, "known to the leader");
  if (member.snapshot) return state("busy", "takes a snapshot");
  if (member.active === false) return state("bad", `silent, ${number(member.lag)} entries behind`);
  return member.lag === 0 ? state("good", "0 entries") : state("busy", `${number(member.lag)} entries`);
}

function connection(member, status) {
  if (!status) return "–";
  if (member.node_id === status.node_id) return "this member";
  const peer = (status.peers || []).find((one) => one.node_id === member.node_id);
  if (!peer) return "–";
  if (!peer.connected) return state("bad", peer.problem || "not connected");
  return state("good", peer.round_trip_p50_ms === null ? "connected" : `${peer.round_trip_p50_ms} ms`);
}

function compared(check) {
  if (!check) return "–";
  return state({ Agrees: "good", Inconclusive: "warn" }[check.result] ?? "bad", check.result.toLowerCase());
}

function members(cluster, status) {
  const rows = cluster.members.map((member) => [
    outside(member.name || member.node_id, `${member.http_address}/console`),
    role(member, cluster),
    lag(member),
    connection(member, status),
    compared(member.state_check),
  ]);
  const leads = status && cluster.leader?.node_id === status.node_id;
  return [
    table("Members", ["Member", "Role", "Behind the leader", "Connection", "State compared"], rows, { class: "stack" }),
    !leads &&
      cluster.leader?.http_address &&
      h("p", { class: "quiet" }, "Only the leader knows how far the others are: ", outside(`console of ${cluster.leader.name}`, `${cluster.leader.http_address}/console`), "."),
  ];
}

// What the API says of the cluster, as conditions in the manner of Kubernetes.
function conditions(cluster, status, ready) {
  const { configuration } = cluster;
  const voters = configuration.voters.length;
  const rows = [
    ["Leader", cluster.leader ? state("good", "True") : state("bad", "False"), cluster.leader ? `${cluster.leader.name || cluster.leader.node_id}, term ${number(cluster.term)}` : "no leader is known here"],
    ["Ready", ready.ok ? state("good", "True") : state("bad", "False"), ready.ok ? "linearizable reads work on this member" : ready.reason],
    [
      "FaultTolerant",
      cluster.fault_tolerance > 0 ? state("good", "True") : state("warn", "False"),
      `${number(voters)} ${voters === 1 ? "voter" : "voters"}; ${number(cluster.fault_tolerance)} can fail`,
    ],
    [
      "Stable",
      configuration.joint || cluster.transferring_to ? state("busy", "False") : state("good", "True"),
      configuration.joint ? "a change of members is under way" : cluster.transferring_to ? "leadership is being handed over" : "no change of members is under way",
    ],
  ];
  if (status) {
    const behind = status.feature_level < status.feature_level_supported;
    rows.push(["TakesWrites", status.writes_refused ? state("bad", "False") : state("good", "True"), status.writes_refused || "this member refuses none for want of space"]);
    rows.push(["Upgraded", behind ? state("busy", "False") : state("good", "True"), `feature level ${status.feature_level} of ${status.feature_level_supported}`]);
    if (status.failure) rows.push(["Healthy", state("bad", "False"), status.failure]);
  }
  return table("Conditions", ["Condition", "Status", "Meaning"], rows, { class: "stack" });
}

function underWay(cluster) {
  const { configuration } = cluster;
  const names = new Map(cluster.members.map((one) => [one.node_id, one.name || one.node_id]));
  const named = (ids) => ids.map((id) => names.get(id) || id).join(", ");
  const steps = [];
  if (configuration.joint) steps.push(`Voters change from ${named(configuration.outgoing)} to ${named(configuration.voters)}.`);
  if (configuration.learners_next.length) steps.push(`${named(configuration.learners_next)} will have no vote.`);
  if (configuration.learners.length) steps.push(`${named(configuration.learners)} learn without a vote.`);
  if (cluster.transferring_to) steps.push(`Leadership goes to ${names.get(cluster.transferring_to) || cluster.transferring_to}.`);
  return [
    steps.length ? h("ul", {}, steps.map((one) => h("li", {}, one))) : h("p", {}, "No change of members is under way."),
    h(
      "p",
      { class: "quiet" },
      "What is planned next, and the conditions of the resource, are the operator's: ",
      h("code", {}, "kubectl get csc NAME -o yaml"),
      ", or ",
      h("code", {}, "csctl local status"),
      " for a local cluster. The API of members does not have them."
    ),
  ];
}

function facts(cluster, status) {
  const pairs = [
    ["Cluster", cluster.cluster_id],
    ["Revision", number(cluster.revision)],
    ["Tolerates", `${number(cluster.fault_tolerance)} ${cluster.fault_tolerance === 1 ? "failure" : "failures"}`],
  ];
  if (status) {
    pairs.push(["This member", status.name], ["Version", status.version], ["Data", bytes(status.data_bytes)], ["Up for", duration(status.uptime_s * 1000)]);
  }
  return h("dl", { class: "facts" }, pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

// A request that may be refused to this person without ending the view.
async function optional(run) {
  try {
    return [await run(), null];
  } catch (error) {
    if (error instanceof Problem && error.status !== 401) return [null, error];
    throw error;
  }
}

export async function overview(target, context) {
  const { signal } = context;
  const history = new History();
  const parts = Object.fromEntries(["facts", "members", "conditions", "plan", "sparks"].map((name) => [name, h("div", {})]));
  const about = h("p", { class: "quiet" });
  show(
    target,
    h("h1", {}, "Overview"),
    parts.facts,
    h("section", {}, h("h2", {}, "Members"), parts.members),
    h("section", {}, h("h2", {}, "Requests to this member"), parts.sparks, about),
    h("section", {}, h("h2", {}, "Conditions"), parts.conditions),
    h("section", {}, h("h2", {}, "Under way"), parts.plan)
  );
  const readiness = async () => {
    const [, refused] = await optional(() => get("/readyz", { signal }));
    return { ok: !refused, reason: refused?.message };
  };
  await poll(signal, EVERY_MS, async () => {
    try {
      const [[cluster, noCluster], [status], [exposition, noMetrics], ready] = await Promise.all([
        optional(() => get("/api/v1/cluster", { signal })),
        optional(() => get("/status", { signal })),
        optional(() => send("GET", "/metrics", { signal })),
        readiness(),
      ]);
      if (signal.aborted) return;
      if (cluster) {
        show(parts.facts, facts(cluster, status));
        show(parts.members, members(cluster, status));
        show(parts.conditions, conditions(cluster, status, ready));
        show(parts.plan, underWay(cluster));
      } else show(parts.members, trouble(noCluster));
      if (exposition) {
        history.add(exposition.text, performance.now());
        show(
          parts.sparks,
          h(
            "div",
            { class: "sparks" },
            spark("Throughput", history.series("requests"), "/s"),
            spark("Median latency", history.series("median"), "ms"),
            spark("99 % latency", history.series("high"), "ms"),
            spark("Errors (5xx)", history.series("failed"), "/s"),
            spark("Refused (4xx)", history.series("refused"), "/s")
          )
        );
        show(about, `Requests for data over HTTP, sampled every ${EVERY_MS / 1000} s while this view is open. Streams and watches are not in it.`);
      } else show(parts.sparks, trouble(noMetrics));
    } catch (error) {
      if (signal.aborted || error.name === "AbortError") return;
      if (!(error instanceof Problem)) throw error;
      show(parts.members, trouble(error));
    }
  });
}
