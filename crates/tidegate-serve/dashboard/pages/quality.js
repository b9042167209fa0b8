// How good the data is: rates against their thresholds, what was rejected and why, what was late.

import { card, page } from "../components/card.js";
import { fates } from "../components/fates.js";
import { lateEvents } from "../components/late.js";
import { verdict } from "../components/notice.js";
import { plot } from "../components/plot.js";
import { rangePicker } from "../components/range.js";
import { ranked } from "../components/ranked.js";
import { rateList } from "../components/rates.js";
import { samples } from "../components/samples.js";
import { tiles } from "../components/tiles.js";
import { fill, h } from "../dom.js";
import * as health from "../health.js";
import { History } from "../history.js";
import * as numbers from "../numbers.js";
import { listen, read } from "../store.js";

export const quality = { title: "Data quality", mount };

const EMPTY = { title: "No history yet", detail: "The job keeps its figures from its start on; the first come within seconds." };
const COURSE = { "rejected": "rejected_rate", "late": "late_rate", "duplicates": "duplicate_rate", "updates": "update_rate" };

function mount(root) {
  const job = read("job");
  const said = verdict();
  const drawer = samples();
  const rates = health.rates(read("status"), job);
  const withThreshold = rateList(rates.filter((rate) => rate.threshold !== null));
  const isListed = (rate) => rate.threshold !== null;
  const where = fates();
  const reasons = ranked({
    label: "Rejects by reason",
    format: numbers.plain,
    shareText: (entry) => numbers.percent(entry.share),
    onOpen: (entry) => drawer.open(entry.name),
    empty: { title: "Nothing has been rejected", detail: "Records that do not fit the schema, or break a rule, are listed here by reason." },
  });
  const unknown = ranked({
    label: "Unknown fields",
    format: numbers.plain,
    shareText: () => "",
    empty: { title: "There are none", detail: "Fields that records have and the schema does not are ignored, and listed here." },
  });
  const any = h("button.button", { type: "button", "aria-haspopup": "dialog", onclick: () => drawer.open(null) }, "Newest of all");
  const counts = tiles("Counts", [{ label: "Late" }, { label: "Duplicates" }, { label: "Updates", hint: "Since the start of this process" }, { label: "Expired", hint: "Records that expired at the source before they could be read" }]);
  const course = plot({ label: "Shares of the records", format: numbers.percent, empty: EMPTY, height: 200 });
  const late = lateEvents();

  fill(root, page("Data quality", rangePicker(), said.element,
    h("div.stack", {},
      card({ title: "Rates and thresholds", sub: "Over the last 5 minutes, with the course over the shown range" }, withThreshold.element),
      card({ title: "Where every record went", sub: "Over the whole life of the job" }, where.element),
      h("div.grid", {},
        card({ title: "Rejects by reason", sub: "Records, and their share of all rejected; one can have several reasons. Open a reason to see them.", aside: any }, reasons.element),
        card({ title: "Late, duplicates, updates", sub: "Shares of the records, over 5 minutes each" }, counts.element, course.element)),
      card({ title: "Fields that the schema does not have", sub: "How often each was ignored since this process started: a new field of a sender, or one that is written differently. Add it to [schema] to keep it." }, unknown.element),
      card({ title: "Late events", sub: "Behind the watermark when they were read: kept, and loaded, but not in the windows" }, late.element)),
    drawer.element));

  const history = new History(() => {
    for (const rate of rates.filter(isListed)) {
      const { times, values, from, to } = history.series([rate.key]);
      withThreshold.course(rate.key, { times, values: values[0], from, to });
    }
    const { times, values, from, to } = history.series(Object.values(COURSE));
    course.update({ times, series: Object.keys(COURSE).map((name, index) => ({ name, values: values[index] })), from, to });
  });
  const update = () => {
    const status = read("status");
    said.update(health.quality(status, job));
    withThreshold.update(health.rates(status, job).filter(isListed));
    where.update(status);
    reasons.update(reasonsOf(status));
    unknown.update(unknownOf(status));
    any.hidden = status.rejected === 0;
    counts.update([
      { value: numbers.compact(status.late), note: current(status.quality?.late_rate) },
      { value: numbers.compact(status.duplicates), note: current(status.quality?.duplicate_rate) },
      { value: numbers.compact(status.updates), note: current(status.quality?.update_rate) },
      { value: numbers.compact(status.gone), note: status.gone > 0 ? "before they were read" : "none", level: status.gone > 0 ? "warn" : null },
    ]);
  };
  const off = listen(["status"], update);
  update();
  return () => {
    off();
    late.stop();
    history.stop();
    course.stop();
  };
}

function current(rate) {
  return numbers.isNumber(rate) ? `${numbers.percent(rate)} now` : "";
}

function unknownOf({ unknown_fields: by = {}, unknown_fields_total: total = 0 }) {
  const entries = Object.entries(by).map(([name, value]) => ({ name, value }));
  const told = entries.reduce((sum, { value }) => sum + value, 0);
  if (total > told) entries.push({ name: "others, too many to be told apart", value: total - told });
  return entries.sort((a, b) => b.value - a.value || a.name.localeCompare(b.name));
}

function reasonsOf({ rejected_by: by, rejected }) {
  const entries = Object.entries(by).map(([name, value]) => ({ name, value, share: rejected > 0 ? value / rejected : null }));
  return entries.sort((a, b) => b.value - a.value || a.name.localeCompare(b.name));
}
