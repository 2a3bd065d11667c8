// Puts the page together: which view is shown, and what the top says of the service's health.

import { about } from "./about.js";
import { alerts } from "./alerts.js";
import { say, toggle } from "./dom.js";
import { Feed } from "./feed.js";
import { ago, bytes, span } from "./format.js";
import { overview } from "./overview.js";
import { rejected } from "./rejected.js";
import { stream } from "./stream.js";

const feed = new Feed();
const main = document.getElementById("main");
const health = document.getElementById("health");
const VIEWS = { "": ["Streams", overview], stream: ["Stream", stream], alerts: ["Alerts", alerts], rejected: ["Rejected", rejected], about: ["About", about] };
let leave = () => {};
let shown = null;

// #/stream/<name>, with the name's own slashes and marks encoded.
function where() {
  const [, view = "", rest = ""] = location.hash.split("/");
  let name = "";
  try { name = decodeURIComponent(rest); } catch { /* not one of ours */ }
  return [VIEWS[view] && (view !== "stream" || name) ? view : "", name];
}

function route(first) {
  if (location.hash === "#main") return main.focus(); // the skip link
  const [view, name] = where();
  if (shown === `${view}/${name}`) return;
  shown = `${view}/${name}`;
  leave();
  main.replaceChildren();
  const [title, show] = VIEWS[view];
  document.title = `${name || title} · stream_lstm`;
  for (const link of document.querySelectorAll("nav a")) {
    if (link.getAttribute("href") === `#/${view === "stream" ? "" : view}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  feed.look(view === "stream" ? name : null);
  leave = show(main, feed, name) ?? (() => {});
  if (!first) { window.scrollTo(0, 0); main.focus({ preventScroll: true }); }
}

const [dot, words] = health.children;

function wellOrNot(o) {
  toggle(dot, "good", o.ready);
  toggle(dot, "bad", !o.ready);
  say(words, o.ready ? "ready" : o.obstacles.join("; "));
  say(document.getElementById("footer"), `stream_lstm ${o.version} · model ${o.model} · up ${span(o.now - o.started)} · checkpoint ${ago(o.now - o.checkpoint_age_seconds, o.now)} · ${bytes(o.state_bytes)} on disk · ${o.viewers} looking`);
}

feed.on("overview", wellOrNot);
feed.on("state", (state) => {
  toggle(document.body, "away", state === "away");
  if (state === "live") return;
  toggle(dot, "good", false);
  toggle(dot, "bad", state === "away");
  say(words, state === "away" ? "no answer from the service; trying again" : "paused while hidden");
});
window.addEventListener("hashchange", () => route(false));
route(true);
