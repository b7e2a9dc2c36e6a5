// How a query is answered, as a picture: which index, how much is read, what is sorted in memory.

import { collection, exact } from "../api.js";
import { field, h, show } from "../dom.js";
import { compact, plain } from "../json.js";
import { collectionHead, into } from "../parts.js";
import { aggregateTree, findTree, picture } from "../plan.js";
import { area, bodyOf, jsonOf, queryFields, sends } from "./documents.js";

const STAGES = '[\n  {"$match": {}},\n  {"$sort": {"_id": 1}}\n]';

export async function explain(target, context, name) {
  const { signal, query } = context;
  const fields = queryFields(query);
  const hint = h("input", { name: "hint", spellcheck: "false", autocapitalize: "none" });
  const pipeline = area("pipeline", STAGES, 8, { class: "code" });
  const drawn = h("div", { class: "drawn" });

  const findPlan = () =>
    into(drawn, async () => {
      const more = { explain: true };
      if (hint.value) more.hint = hint.value;
      const answer = await exact("POST", collection(name, ":find"), { body: compact(bodyOf(fields, more)), signal });
      return picture(findTree(name, plain(answer.get("explain")), { limit: Number(fields.limit.value) || 100 }));
    });

  const aggregatePlan = () =>
    into(drawn, async () => {
      const body = new Map([["pipeline", jsonOf(pipeline, "Pipeline", [])], ["explain", true]]);
      const answer = await exact("POST", collection(name, ":aggregate"), { body: compact(body), signal });
      return picture(aggregateTree(name, plain(answer.get("explain"))));
    });

  const form = (label, run, ...content) =>
    sends(
      h(
        "form",
        {
          class: "query",
          "aria-label": label,
          on: {
            submit: (event) => {
              event.preventDefault();
              run();
            },
          },
        },
        ...content,
        h("button", { type: "submit", class: "primary" }, label)
      )
    );

  show(
    target,
    collectionHead(name, "explain"),
    form(
      "Explain the query",
      findPlan,
      field("Filter", fields.filter),
      h("div", { class: "row" }, field("Order", fields.sort), field("Documents", fields.limit), field("Index to use", hint, "its name, or scan; empty: the store chooses"))
    ),
    h("details", {}, h("summary", {}, "An aggregation instead"), form("Explain the aggregation", aggregatePlan, field("Pipeline", pipeline))),
    drawn,
    h("p", { class: "quiet" }, "The query is run to be explained. It changes nothing, and its documents are not shown here.")
  );
  if (query.has("filter") || query.has("sort")) await findPlan();
}
