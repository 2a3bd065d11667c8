// Overview: the service in cards, the latest alerts, and the list of streams.

import { el, getJson, named, setText, toggle } from "./dom.js";
import { ago, count, number, percent, rate, ratio, span } from "./format.js";
import { streams } from "./streams.js";

const RATES_MAX = 120; // of the sparkline: two minutes, at an overview a second
const ALERTS_SHOWN = 6; // the list of streams stays in sight

function card(title, tooltip) {
  const main = el("b"), more = el("span", { class: "quiet" });
  return { place: el("div", { class: "card", title: tooltip }, el("h2", null, title), main, more), main, more };
}

// The last rates as a small line chart.
function sparkline() {
  const canvas = el("canvas", { class: "spark", width: 240, height: 48, "aria-hidden": "true" });
  const rates = [];
  return {
    place: canvas,
    add(value) {
      rates.push(value);
      if (rates.length > RATES_MAX) rates.shift();
      if (rates.length < 10) return;
      const ink = canvas.getContext("2d"), most = Math.max(...rates, 1e-9);
      ink.clearRect(0, 0, canvas.width, canvas.height);
      ink.strokeStyle = getComputedStyle(canvas).color;
      ink.lineWidth = 2;
      ink.beginPath();
      rates.forEach((r, n) => ink.lineTo(((RATES_MAX - rates.length + n) / (RATES_MAX - 1)) * canvas.width, canvas.height - 3 - (r / most) * (canvas.height - 6)));
      ink.stroke();
    },
  };
}

function latest(now) {
  const list = el("ul", { class: "alerts" });
  const place = el("section", { "aria-labelledby": "latest" }, el("h2", { id: "latest" }, "Latest alerts"), list);
  let known = -1;
  return {
    place,
    async refresh(total) {
      if (total === known) return;
      known = total;
      const answer = await getJson("api/alerts").catch(() => null);
      if (!answer) { known = -1; return; }
      list.replaceChildren(...answer.alerts.slice(0, ALERTS_SHOWN).map((alert) => el("li", null,
        el("a", { href: `#/stream/${encodeURIComponent(alert.name)}` }, named(alert.name)),
        el("span", { class: "quiet" }, ` ${alert.kind}: ${number(alert.value)}, expected ${number(alert.expected)}; anomaly ${ratio(alert.anomaly)}, ${ago(alert.at, now())}`))));
      if (!answer.alerts.length) list.replaceChildren(el("li", { class: "quiet" }, "none since the start"));
    },
  };
}

export function overview(main, feed) {
  let now = Date.now() / 1e3;
  const events = card("Events per second", "Events received over the last five seconds, rejected ones included");
  const latency = card("Latency", "From a message's arrival to its prediction's write, over the last five seconds");
  const known = card("Streams", "Streams in memory and on disk; active: with an event in the last minute");
  const anomalous = card("Anomalous", "Streams with an anomalous event in the last minutes");
  const stale = card("Stale", "Streams without events for three times their longest recent gap");
  const rejected = card("Rejected", "Messages and events rejected since the start, by reason");
  const error = card("Relative error", "Mean error relative to the last-value forecast, since the start; 1.0 is no better");
  const backlog = card("Backlog", "Messages received and not yet applied; below, the age of the newest event by event time");
  const spark = sparkline(), alerts = latest(() => now);
  events.place.append(spark.place);
  const cards = [events, latency, known, anomalous, stale, rejected, error, backlog];
  const list = streams(feed);
  main.append(
    el("h1", { class: "out-of-sight" }, "Overview"),
    el("section", { class: "cards", "aria-label": "State of the service" }, cards.map((c) => c.place)),
    alerts.place, list.place);

  function show(o) {
    now = o.now;
    setText(events.main, rate(o.events_per_second));
    setText(events.more, `${count(o.predictions)} predictions`);
    spark.add(o.events_per_second);
    setText(latency.main, span(o.latency.median_seconds));
    setText(latency.more, o.latency.p99_seconds === null ? "no events in the last seconds" : `p50 (p99: ${span(o.latency.p99_seconds)})`);
    setText(known.main, count(o.streams.known));
    setText(known.more, `${count(o.streams.active)} active${o.streams.disk ? `, ${count(o.streams.disk)} on disk` : ""}`);
    setText(anomalous.main, count(o.streams.odd));
    setText(anomalous.more, `${count(o.alerts)} alerts since the start`);
    toggle(anomalous.place, "alarm", o.streams.odd > 0);
    setText(stale.main, count(o.streams.stale));
    setText(stale.more, "3 × the longest recent gap");
    toggle(stale.place, "alarm", o.streams.stale > 0);
    const reasons = Object.entries(o.rejected).sort((a, b) => b[1] - a[1]);
    setText(rejected.main, count(reasons.reduce((sum, [, n]) => sum + n, 0)));
    setText(rejected.more, reasons.length ? reasons.slice(0, 3).map(([reason, n]) => `${count(n)} ${reason}`).join(", ") : "none since the start");
    toggle(rejected.place, "alarm", o.rejected_per_second > 0);
    setText(error.main, ratio(o.error_ratio));
    setText(error.more, o.covered === null ? "no values judged yet" : `${percent(o.covered)} inside the ${percent(o.interval)} interval`);
    setText(backlog.main, count(o.inbox_messages));
    setText(backlog.more, o.backlog_seconds === null ? "messages; no event carries a time" : `messages; newest event ${span(o.backlog_seconds)} old`);
    toggle(backlog.place, "alarm", o.reading_paused);
    alerts.refresh(o.alerts);
    list.tick(o.now);
  }

  if (feed.overview) show(feed.overview);
  const off = feed.on("overview", show);
  return () => { off(); list.end(); };
}
