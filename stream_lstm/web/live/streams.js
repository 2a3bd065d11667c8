// The list of streams: as tall as all its rows, but only rows in sight are fetched and drawn.

import { el, getJson, setText, toggle } from "./dom.js";
import { ago, around, count, number, ratio } from "./format.js";

const PIECE = 50; // rows fetched together: about two screens
const ROWS_MAX = 300_000; // at 46 pixels each; browsers do not draw pages much taller than that
const SPARE = 20; // rows drawn above and below those in sight, so that scrolling shows no gaps
const FRESH_MS = 1_800; // after which rows are fetched again: every second overview
const TYPING_MS = 200; // after the last key, the search starts
const HELD_MS = 2_500; // after the pointer last moved over the rows, they may move again

const STATES = { all: "all", anomalous: "anomalous", stale: "stale", cold: "cold (fewer than 100 events)", worse: "worse than the last-value forecast" };
const COLUMNS = [ // title, sort key, class, tooltip
  ["Stream", "name", "stream"], ["Value", null, "value", "Value of the last event"],
  ["Expected next", null, "next", "Prediction for the next event ± half-width of its interval"],
  ["Anomaly", "anomaly", "anomaly", "Anomaly of the last event, or the decayed score of the last minutes, if higher"],
  ["Relative error", "error", "error", "Mean error relative to the last-value forecast, over the last hundreds of events; 1.0 is no better"],
  ["Coverage", "covered", "covered", "Share of values inside their prediction interval, over the last hundreds of events"],
  ["Events", "events", "events"], ["Last seen", "seen", "seen", "Arrival of the last event"],
];
const ASCENDING = new Set(["name", "covered"]); // sorted ascending at the first click

// The query is kept while another view is shown.
const query = { search: "", state: "all", sort: "anomaly", order: "" };

export function streams(feed) {
  const search = el("input", { type: "search", id: "search", placeholder: "part of a name", autocomplete: "off", spellcheck: "false", value: query.search });
  const state = el("select", { id: "state" }, Object.entries(STATES).map(([value, text]) => el("option", { value, selected: value === query.state }, text)));
  const total = el("p", { class: "quiet", role: "status" });
  const heads = COLUMNS.map(([title, sort, kind, tooltip]) => {
    const head = el("th", { scope: "col", class: kind, title: tooltip });
    head.append(sort ? el("button", { type: "button", onclick: () => sortBy(sort) }, title) : title);
    return { head, sort };
  });
  const above = el("tr", { class: "space", "aria-hidden": "true" }, el("td", { colspan: COLUMNS.length }));
  const below = el("tr", { class: "space", "aria-hidden": "true" }, el("td", { colspan: COLUMNS.length }));
  const body = el("tbody", null, above, below);
  const table = el("table", { class: "list", "aria-label": "Streams" }, el("thead", null, el("tr", null, heads.map(({ head }) => head))), body);
  const place = el("section", { "aria-labelledby": "streams" },
    el("div", { class: "tools" }, el("h2", { id: "streams" }, "Streams"),
      el("label", { for: "search" }, "Search"), search, el("label", { for: "state" }, "Show"), state, total),
    table);

  const pieces = new Map(); // by number: { at, lines }
  const rows = []; // drawn, from the first in sight on
  let first = 0, known = 0, now = Date.now() / 1e3, version = 0, rowHeight = 46, moved = 0, drawing = 0, typing = 0, ended = false;

  function sortBy(sort) {
    if (query.sort === sort) query.order = ascending() ? "descending" : "ascending";
    else Object.assign(query, { sort, order: ASCENDING.has(sort) ? "ascending" : "descending" });
    reset();
  }

  const ascending = () => (query.order ? query.order === "ascending" : ASCENDING.has(query.sort));

  function reset() {
    version += 1;
    pieces.clear();
    for (const { head, sort } of heads) {
      if (sort !== query.sort) head.removeAttribute("aria-sort");
      else head.setAttribute("aria-sort", ascending() ? "ascending" : "descending");
    }
    fetchInSight(true);
  }

  function row() {
    const name = el("bdi", { class: "name" }), link = el("a", null, name), marks = el("span", { class: "marks" });
    const bar = el("span", { class: "bar", "aria-hidden": "true" }, el("i")), anomaly = el("span");
    const cells = { value: el("td", { class: "value" }), next: el("td", { class: "next" }), error: el("td", { class: "error" }), covered: el("td", { class: "covered" }), events: el("td", { class: "events" }), seen: el("td", { class: "seen" }) };
    const made = el("tr", null, el("th", { scope: "row", class: "stream" }, el("div", null, link, marks)), cells.value, cells.next, el("td", { class: "anomaly" }, bar, anomaly), cells.error, cells.covered, cells.events, cells.seen);
    return { made, name, link, marks, bar, anomaly, cells };
  }

  function fill({ made, name, link, marks, bar, anomaly, cells }, index, line) {
    made.setAttribute("aria-rowindex", index + 2);
    toggle(made, "loading", !line);
    if (!line) {
      setText(name, "…");
      link.removeAttribute("href");
      marks.replaceChildren();
      for (const cell of [...Object.values(cells), anomaly]) setText(cell, "");
      bar.firstChild.style.width = "0";
      return;
    }
    setText(name, line.name);
    name.title = line.name;
    const href = `#/stream/${encodeURIComponent(line.name)}`;
    if (link.getAttribute("href") !== href) link.setAttribute("href", href);
    const states = [line.stale && "stale", !line.warm && "cold"].filter(Boolean).join(" ");
    if (marks.dataset.states !== states) {
      marks.dataset.states = states;
      marks.replaceChildren(...states.split(" ").filter(Boolean).map((mark) => el("span", { class: `mark ${mark}` }, mark)));
    }
    setText(cells.value, number(line.value));
    setText(cells.next, around(line.prediction, line.interval));
    bar.firstChild.style.width = `${Math.round(line.odd * 100)}%`;
    toggle(bar, "alarm", line.odd >= (feed.overview?.alert_from ?? 1));
    setText(anomaly, line.anomaly === null && !line.odd ? ratio(null) : ratio(line.odd));
    setText(cells.error, ratio(line.error_ratio));
    toggle(cells.error, "worse", line.error_ratio >= 1.005);
    setText(cells.covered, line.covered === null ? "–" : `${Math.round(line.covered * 100)} %`);
    setText(cells.events, count(line.events));
    setText(cells.seen, ago(line.seen, now));
  }

  function inSight() {
    const top = body.getBoundingClientRect().top, count = Math.min(known, ROWS_MAX);
    const begin = Math.max(Math.floor(-top / rowHeight) - SPARE, 0);
    const end = Math.min(Math.ceil((window.innerHeight - top) / rowHeight) + SPARE, count);
    return [Math.min(begin, Math.max(count - 1, 0)), Math.max(end, 0), count];
  }

  function draw() {
    drawing = 0;
    if (ended) return;
    const [begin, end, all] = inSight();
    first = begin;
    while (rows.length < end - begin) { const made = row(); rows.push(made); below.before(made.made); }
    while (rows.length > Math.max(end - begin, 0)) rows.pop().made.remove();
    rows.forEach((made, n) => fill(made, first + n, pieces.get(Math.floor((first + n) / PIECE))?.lines[(first + n) % PIECE]));
    if (rows.length) rowHeight = rows[0].made.getBoundingClientRect().height || rowHeight;
    above.firstChild.style.height = `${begin * rowHeight}px`;
    below.firstChild.style.height = `${Math.max(all - end, 0) * rowHeight}px`;
    table.setAttribute("aria-rowcount", known + 1);
  }

  const redraw = () => { drawing ||= requestAnimationFrame(draw); };

  async function fetchPiece(n) {
    const fetched = version, at = performance.now(), before = pieces.get(n);
    pieces.set(n, { at, lines: before?.lines ?? [] });
    const answer = await getJson("api/streams", { ...query, offset: n * PIECE, limit: PIECE }).catch(() => null);
    if (fetched !== version || ended) return;
    if (!answer) { pieces.delete(n); return; }
    pieces.set(n, { at, lines: answer.streams });
    known = answer.total;
    setText(total, !known && answer.memory ? "No stream matches." : `${count(known)} of ${count(answer.memory)}${answer.disk ? `; ${count(answer.disk)} more on disk, not listed` : ""}${known > ROWS_MAX ? `; only the first ${count(ROWS_MAX)} are shown, narrow the search` : ""}`);
    redraw();
  }

  function fetchInSight(all) {
    if (ended) return;
    const [begin, end] = inSight();
    const late = performance.now() - FRESH_MS;
    for (let n = Math.floor(begin / PIECE); n <= Math.floor(Math.max(end - 1, 0) / PIECE); n += 1) {
      const piece = pieces.get(n);
      if (!piece || (all && piece.at < late)) fetchPiece(n);
    }
  }

  // Rows do not move while the pointer moves over them or one has the focus: a click would hit another row.
  const held = () => performance.now() - moved < HELD_MS || body.contains(document.activeElement);
  const onScroll = () => { redraw(); fetchInSight(false); };
  body.addEventListener("pointermove", () => { moved = performance.now(); }, { passive: true });
  body.addEventListener("pointerleave", () => { moved = 0; });
  window.addEventListener("scroll", onScroll, { passive: true });
  window.addEventListener("resize", onScroll);
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => { query.search = search.value; reset(); }, TYPING_MS);
  });
  state.addEventListener("change", () => { query.state = state.value; reset(); });
  const off = feed.on("open", (again) => { if (again) reset(); });
  queueMicrotask(reset);

  return {
    place,
    tick(at) {
      now = at;
      if (held()) return;
      fetchInSight(true);
      redraw();
    },
    end() {
      ended = true;
      off();
      clearTimeout(typing);
      window.removeEventListener("scroll", onScroll);
      window.removeEventListener("resize", onScroll);
    },
  };
}
