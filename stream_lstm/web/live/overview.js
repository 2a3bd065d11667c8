// How the service fares, in cards; the latest alerts; and the list of streams.

import { ask, el, named, say, toggle } from "./dom.js";
import { ago, count, number, percent, rate, ratio, span } from "./format.js";
import { streams } from "./streams.js";

const REMEMBERED = 120; // looks at the rate, for its small chart
const ALERTS_SHOWN = 6;

function card(title, about) {
  const main = el("b"), more = el("span", { class: "quiet" });
  return { place: el("div", { class: "card", title: about }, el("h2", null, title), main, more), main, more };
}

// The last rates as a line of a few pixels.
function sparkline() {
  const canvas = el("canvas", { class: "spark", width: 240, height: 48, "aria-hidden": "true" });
  const rates = [];
  return {
    place: canvas,
    add(value) {
      rates.push(value);
      if (rates.length > REMEMBERED) rates.shift();
      if (rates.length < 10) return;
      const ink = canvas.getContext("2d"), most = Math.max(...rates, 1e-9);
      ink.clearRect(0, 0, canvas.width, canvas.height);
      ink.strokeStyle = getComputedStyle(canvas).color;
      ink.lineWidth = 2;
      ink.beginPath();
      rates.forEach((r, n) => ink.lineTo(((REMEMBERED - rates.length + n) / (REMEMBERED - 1)) * canvas.width, canvas.height - 3 - (r / most) * (canvas.height - 6)));
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
    async look(total) {
      if (total === known) return;
      known = total;
      const told = await ask("api/alerts").catch(() => null);
      if (!told) { known = -1; return; }
      list.replaceChildren(...told.alerts.slice(0, ALERTS_SHOWN).map((alert) => el("li", null,
        el("a", { href: `#/stream/${encodeURIComponent(alert.name)}` }, named(alert.name)),
        el("span", { class: "quiet" }, ` ${alert.kind}, ${number(alert.value)} where ${number(alert.expected)} was expected; anomaly ${ratio(alert.anomaly)}, ${ago(alert.at, now())}`))));
      if (!told.alerts.length) list.replaceChildren(el("li", { class: "quiet" }, "none since the start"));
    },
  };
}

export function overview(main, feed) {
  let now = Date.now() / 1e3;
  const events = card("Events a second", "Events and refused messages that came in, over the last seconds");
  const delay = card("Delay", "From a message's arrival to its prediction's write: the median, and what one in a hundred exceeds");
  const known = card("Streams", "Streams that are known; active: heard of within the last minute");
  const odd = card("Odd now", "Streams with an odd event within the last minutes");
  const stale = card("Silent", "Streams that have been silent for longer than they should be, by their own rhythm");
  const refused = card("Rejected", "Messages that were refused since the start, by reason");
  const error = card("Error", "Mean error by that of “same as last time”, since the start: below 1 is better");
  const behind = card("Behind", "Messages received and not yet applied, and how old the newest event is by its own time");
  const spark = sparkline(), alerts = latest(() => now);
  events.place.append(spark.place);
  const cards = [events, delay, known, odd, stale, refused, error, behind];
  const list = streams(feed);
  main.append(
    el("h1", { class: "out-of-sight" }, "Overview"),
    el("section", { class: "cards", "aria-label": "How the service fares" }, cards.map((c) => c.place)),
    alerts.place, list.place);

  function show(o) {
    now = o.now;
    say(events.main, rate(o.events_per_second));
    say(events.more, `${count(o.predictions)} predictions`);
    spark.add(o.events_per_second);
    say(delay.main, span(o.latency.median_seconds));
    say(delay.more, o.latency.p99_seconds === null ? "no events of late" : `one in a hundred over ${span(o.latency.p99_seconds)}`);
    say(known.main, count(o.streams.known));
    say(known.more, `${count(o.streams.active)} active${o.streams.disk ? `, ${count(o.streams.disk)} on disk` : ""}`);
    say(odd.main, count(o.streams.odd));
    say(odd.more, `${count(o.alerts)} alerts since the start`);
    toggle(odd.place, "alarm", o.streams.odd > 0);
    say(stale.main, count(o.streams.stale));
    say(stale.more, "by their own rhythm");
    toggle(stale.place, "alarm", o.streams.stale > 0);
    const reasons = Object.entries(o.rejected).sort((a, b) => b[1] - a[1]);
    say(refused.main, count(reasons.reduce((sum, [, n]) => sum + n, 0)));
    say(refused.more, reasons.length ? reasons.slice(0, 3).map(([reason, n]) => `${count(n)} ${reason}`).join(", ") : "nothing so far");
    toggle(refused.place, "alarm", o.rejected_per_second > 0);
    say(error.main, ratio(o.error_ratio));
    say(error.more, o.covered === null ? "of “same as last time”" : `${percent(o.covered)} in the ${percent(o.interval)} interval`);
    say(behind.main, count(o.inbox_messages));
    say(behind.more, o.backlog_seconds === null ? "messages wait; no event carries a time" : `messages wait; of events with a time, the newest is ${span(o.backlog_seconds)} old`);
    toggle(behind.place, "alarm", o.reading_paused);
    alerts.look(o.alerts);
    list.tick(o.now);
  }

  if (feed.overview) show(feed.overview);
  const off = feed.on("overview", show);
  return () => { off(); list.end(); };
}
