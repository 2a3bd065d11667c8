// The list of streams: as long as there are streams, though only what is in sight is ever fetched or drawn.

import { ask, el, say, toggle } from "./dom.js";
import { ago, around, count, number, ratio } from "./format.js";

const PIECE = 50; // rows that are fetched together
const ROWS_MAX = 300_000; // browsers draw no page that is much higher
const SPARE = 20; // rows that are drawn beyond those in sight
const FRESH_MS = 1_800; // what was fetched is fetched anew after so long
const TYPED_MS = 200;
const HELD_MS = 2_500; // after the pointer last moved over the rows, they stay where they are

const STATES = { all: "all", odd: "odd", stale: "silent", cold: "new", worse: "worse than “same as last time”" };
const COLUMNS = [ // title, its sort, class
  ["Stream", "name", "stream"], ["Value", null, "value"], ["Expected next", null, "next"], ["Anomaly", "odd", "odd"],
  ["Error", "error", "error"], ["In interval", "covered", "covered"], ["Events", "events", "events"], ["Last heard", "seen", "seen"],
];
const ASCENDING = new Set(["name", "covered"]); // at first

// What the list is asked for stays while one looks at a stream and comes back.
const asked = { search: "", state: "all", sort: "odd", order: "" };

export function streams(feed) {
  const search = el("input", { type: "search", id: "search", placeholder: "part of a name", autocomplete: "off", spellcheck: "false", value: asked.search });
  const state = el("select", { id: "state" }, Object.entries(STATES).map(([value, text]) => el("option", { value, selected: value === asked.state }, text)));
  const total = el("p", { class: "quiet", role: "status" });
  const heads = COLUMNS.map(([title, sort, kind]) => {
    const head = el("th", { scope: "col", class: kind });
    head.append(sort ? el("button", { type: "button", onclick: () => sorted(sort) }, title) : title);
    return { head, sort };
  });
  const above = el("tr", { class: "space", "aria-hidden": "true" }, el("td", { colspan: COLUMNS.length }));
  const below = el("tr", { class: "space", "aria-hidden": "true" }, el("td", { colspan: COLUMNS.length }));
  const body = el("tbody", null, above, below);
  const table = el("table", { class: "list", "aria-label": "Streams" }, el("thead", null, el("tr", null, heads.map(({ head }) => head))), body);
  const place = el("section", { "aria-labelledby": "streams" },
    el("div", { class: "tools" }, el("h2", { id: "streams" }, "Streams"),
      el("label", { for: "search" }, "Find"), search, el("label", { for: "state" }, "Show"), state, total),
    table);

  const pieces = new Map(); // by number: { at, lines }
  const rows = []; // drawn, from the first in sight on
  let first = 0, known = 0, now = Date.now() / 1e3, version = 0, rowHeight = 46, moved = 0, drawing = 0, typing = 0, ended = false;

  function sorted(sort) {
    if (asked.sort === sort) asked.order = ascending() ? "descending" : "ascending";
    else Object.assign(asked, { sort, order: ASCENDING.has(sort) ? "ascending" : "descending" });
    anew();
  }

  const ascending = () => (asked.order ? asked.order === "ascending" : ASCENDING.has(asked.sort));

  function anew() {
    version += 1;
    pieces.clear();
    for (const { head, sort } of heads) {
      if (sort !== asked.sort) head.removeAttribute("aria-sort");
      else head.setAttribute("aria-sort", ascending() ? "ascending" : "descending");
    }
    fetchInSight(true);
  }

  function row() {
    const name = el("bdi", { class: "name" }), link = el("a", null, name), marks = el("span", { class: "marks" });
    const bar = el("span", { class: "bar", "aria-hidden": "true" }, el("i")), odd = el("span");
    const cells = { value: el("td", { class: "value" }), next: el("td", { class: "next" }), error: el("td", { class: "error" }), covered: el("td", { class: "covered" }), events: el("td", { class: "events" }), seen: el("td", { class: "seen" }) };
    const made = el("tr", null, el("th", { scope: "row", class: "stream" }, el("div", null, link, marks)), cells.value, cells.next, el("td", { class: "odd" }, bar, odd), cells.error, cells.covered, cells.events, cells.seen);
    return { made, name, link, marks, bar, odd, cells };
  }

  function fill({ made, name, link, marks, bar, odd, cells }, index, line) {
    made.setAttribute("aria-rowindex", index + 2);
    toggle(made, "waits", !line);
    if (!line) {
      say(name, "…");
      link.removeAttribute("href");
      marks.replaceChildren();
      for (const cell of [...Object.values(cells), odd]) say(cell, "");
      bar.firstChild.style.width = "0";
      return;
    }
    say(name, line.name);
    name.title = line.name;
    const href = `#/stream/${encodeURIComponent(line.name)}`;
    if (link.getAttribute("href") !== href) link.setAttribute("href", href);
    const told = [line.stale && "silent", !line.warm && "new"].filter(Boolean).join(" ");
    if (marks.dataset.told !== told) {
      marks.dataset.told = told;
      marks.replaceChildren(...told.split(" ").filter(Boolean).map((mark) => el("span", { class: `mark ${mark}` }, mark)));
    }
    say(cells.value, number(line.value));
    say(cells.next, around(line.prediction, line.interval));
    bar.firstChild.style.width = `${Math.round(line.odd * 100)}%`;
    toggle(bar, "alarm", line.odd >= (feed.overview?.alert_from ?? 1));
    say(odd, line.anomaly === null && !line.odd ? ratio(null) : ratio(line.odd));
    say(cells.error, ratio(line.error_ratio));
    toggle(cells.error, "worse", line.error_ratio >= 1.005);
    say(cells.covered, line.covered === null ? "–" : `${Math.round(line.covered * 100)} %`);
    say(cells.events, count(line.events));
    say(cells.seen, ago(line.seen, now));
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
    const of = version, at = performance.now(), before = pieces.get(n);
    pieces.set(n, { at, lines: before?.lines ?? [] });
    const told = await ask("api/streams", { ...asked, offset: n * PIECE, limit: PIECE }).catch(() => null);
    if (of !== version || ended) return;
    if (!told) { pieces.delete(n); return; }
    pieces.set(n, { at, lines: told.streams });
    known = told.total;
    say(total, !known && told.memory ? "No stream matches." : `${count(known)} of ${count(told.memory)}${told.disk ? `; ${count(told.disk)} more wait on disk, unlisted` : ""}${known > ROWS_MAX ? `; the first ${count(ROWS_MAX)} are shown: narrow the search` : ""}`);
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

  // Nobody clicks on what jumps away: while the pointer moves over the rows, or the focus is in one, they stay.
  const held = () => performance.now() - moved < HELD_MS || body.contains(document.activeElement);
  const onScroll = () => { redraw(); fetchInSight(false); };
  body.addEventListener("pointermove", () => { moved = performance.now(); }, { passive: true });
  body.addEventListener("pointerleave", () => { moved = 0; });
  window.addEventListener("scroll", onScroll, { passive: true });
  window.addEventListener("resize", onScroll);
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => { asked.search = search.value; anew(); }, TYPED_MS);
  });
  state.addEventListener("change", () => { asked.state = state.value; anew(); });
  const off = feed.on("open", (again) => { if (again) anew(); });
  queueMicrotask(anew);

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
