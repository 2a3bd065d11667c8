// The latest alerts: when an incident began, and why.

import { ask, el, named } from "./dom.js";
import { ago, count, number, ratio, time } from "./format.js";

const KINDS = {
  surprise: "far from what was expected",
  record: "beyond all that this stream has shown",
  level: "the mean of the last values is beyond all that was seen",
  drift: "the level has crept beyond all that was seen",
  standstill: "the same value for longer than ever",
};

export function alerts(main, feed) {
  const body = el("tbody"), total = el("p", { class: "quiet", role: "status" });
  const titles = ["Stream", "Why", "Value", "Expected", "Anomaly", "Event's time", "Predicted"];
  main.append(
    el("h1", null, "Alerts"), total,
    el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Alerts" },
      el("table", { class: "plain" }, el("thead", null, el("tr", null, titles.map((title) => el("th", { scope: "col" }, title)))), body)));
  let known = -1;
  async function look(o) {
    if (o.alerts === known) return;
    known = o.alerts;
    const told = await ask("api/alerts").catch(() => null);
    if (!told) { known = -1; return; }
    total.textContent = told.total ? `${count(told.total)} since the start; the latest ${count(told.alerts.length)}, newest first` : "none since the start";
    body.replaceChildren(...told.alerts.map((alert) => el("tr", null,
      el("th", { scope: "row" }, el("a", { href: `#/stream/${encodeURIComponent(alert.name)}` }, named(alert.name))),
      el("td", { title: KINDS[alert.kind] ?? "" }, alert.kind), el("td", null, number(alert.value)), el("td", null, number(alert.expected)),
      el("td", null, ratio(alert.anomaly)), el("td", null, time(alert.time)), el("td", { title: time(alert.at) }, ago(alert.at, o.now)))));
  }
  if (feed.overview) look(feed.overview);
  return feed.on("overview", look);
}
