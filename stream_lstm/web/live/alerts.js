// The latest alerts, with their kinds.

import { el, getJson, named } from "./dom.js";
import { ago, count, number, ratio, time } from "./format.js";

const KINDS = {
  surprise: "far from the prediction",
  record: "beyond all earlier values of this stream",
  level: "mean of the last values beyond all earlier ones",
  drift: "mean of the last values gradually moved beyond all earlier ones",
  standstill: "same value more often in a row than ever before",
};

export function alerts(main, feed) {
  const body = el("tbody"), total = el("p", { class: "quiet", role: "status" });
  const titles = ["Stream", "Kind", "Value", "Expected", "Anomaly", "Event time", "Predicted"];
  main.append(
    el("h1", null, "Alerts"), total,
    el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Alerts" },
      el("table", { class: "plain" }, el("thead", null, el("tr", null, titles.map((title) => el("th", { scope: "col" }, title)))), body)));
  let known = -1;
  async function refresh(o) {
    if (o.alerts === known) return;
    known = o.alerts;
    const answer = await getJson("api/alerts").catch(() => null);
    if (!answer) { known = -1; return; }
    total.textContent = answer.total ? `${count(answer.total)} since the start; the latest ${count(answer.alerts.length)}, newest first` : "none since the start";
    body.replaceChildren(...answer.alerts.map((alert) => el("tr", null,
      el("th", { scope: "row" }, el("a", { href: `#/stream/${encodeURIComponent(alert.name)}` }, named(alert.name))),
      el("td", { title: KINDS[alert.kind] ?? "" }, alert.kind), el("td", null, number(alert.value)), el("td", null, number(alert.expected)),
      el("td", null, ratio(alert.anomaly)), el("td", null, time(alert.time)), el("td", { title: time(alert.at) }, ago(alert.at, o.now)))));
  }
  if (feed.overview) refresh(feed.overview);
  return feed.on("overview", refresh);
}
