// Which charts the business page has: those of the configuration, or some for each view.

import { words } from "./numbers.js";

/// The charts of a job, each `{title, view, value, by, kind, unit}` with `view` as in the job. A chart whose view or
/// column is not there is left out, because a job may have been given another configuration; so is one that is not
/// computed any more.
export function chartsOf(job) {
  const computed = job.views.filter((view) => view.computed);
  const views = new Map(computed.map((view) => [view.name, view]));
  const configured = (job.charts ?? []).map((chart) => ({ ...chart, view: views.get(chart.view) })).filter(isDrawable);
  return configured.length > 0 ? configured : defaults(computed);
}

function isDrawable({ view, value, by, kind }) {
  const hasValue = view?.aggregates.some((aggregate) => aggregate.name === value);
  const hasGroup = by ? view?.groups.some((group) => group.name === by) : kind !== "top";
  return hasValue && hasGroup;
}

// For each view its first count and its first sum, by the first group; those of the first view also as numbers.
function defaults(views) {
  const numbers = views.slice(0, 1).flatMap((view) => firsts(view).map((aggregate) => chart(view, aggregate, "number")));
  // A count is never negative, so that it can be stacked.
  const plots = views.flatMap((view) => firsts(view).map((aggregate) => chart(view, aggregate, aggregate.function === "count" ? "stacked" : "line")));
  return [...numbers, ...plots];
}

function firsts(view) {
  const found = ["count", "sum"].map((name) => view.aggregates.find((aggregate) => aggregate.function === name));
  return found.filter((aggregate) => aggregate !== undefined);
}

function chart(view, { name }, kind) {
  return { title: words(name), view, value: name, by: kind === "number" ? null : view.groups[0]?.name, kind };
}
