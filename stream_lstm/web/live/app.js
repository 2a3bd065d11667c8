// Entry point: shows the view that the address names, and the service's health in the header.

import { about } from "./about.js";
import { alerts } from "./alerts.js";
import { setText, toggle } from "./dom.js";
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

// View and stream of the address #/stream/<name>, in which the name is percent-encoded.
function parsed() {
  const [, view = "", rest = ""] = location.hash.split("/");
  let name = "";
  try { name = decodeURIComponent(rest); } catch { /* not an address of this page */ }
  return [VIEWS[view] && (view !== "stream" || name) ? view : "", name];
}

function route(first) {
  if (location.hash === "#main") return main.focus(); // the skip link
  const [view, name] = parsed();
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
  feed.follow(view === "stream" ? name : null);
  leave = show(main, feed, name) ?? (() => {});
  if (!first) { window.scrollTo(0, 0); main.focus({ preventScroll: true }); }
}

const [dot, words] = health.children;

function showHealth(o) {
  toggle(dot, "good", o.ready);
  toggle(dot, "bad", !o.ready);
  setText(words, o.ready ? "ready" : o.obstacles.join("; "));
  setText(document.getElementById("footer"), `stream_lstm ${o.version} · model ${o.model} · up ${span(o.now - o.started)} · checkpoint ${ago(o.now - o.checkpoint_age_seconds, o.now)} · ${bytes(o.state_bytes)} on disk · ${o.viewers} ${o.viewers === 1 ? "viewer" : "viewers"}`);
}

feed.on("overview", showHealth);
feed.on("state", (state) => {
  toggle(document.body, "disconnected", state === "disconnected");
  if (state === "live") return;
  toggle(dot, "good", false);
  toggle(dot, "bad", state === "disconnected");
  setText(words, state === "disconnected" ? "no answer from the service, retrying" : "paused while hidden");
});
window.addEventListener("hashchange", () => route(false));
route(true);
