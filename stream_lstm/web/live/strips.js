// Heat maps of LTM, STM and one gate over time: a row a unit, a column an event.

import { el, setText } from "./dom.js";
import { count, percent, span } from "./format.js";

const KINDS = {
  ltm: ["LTM", true, (x) => Math.tanh(x)], stm: ["STM", true, (x) => x],
  forget: ["forget gate", false, (x) => x], learn: ["learn gate", false, (x) => x], use: ["use gate", false, (x) => x],
};
const ORDERS = { span: "half-life, longest first", number: "number", size: "size in the LTM now" };

function hex(name) {
  const text = getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  return [1, 3, 5].map((at) => parseInt(text.slice(at, at + 2), 16));
}

// Half-life of a unit's LTM, events, if the forget gate keeps the share it kept recently.
export function halfLife(kept) {
  return kept >= 1 ? Infinity : kept <= 0 ? 0 : Math.log(0.5) / Math.log(kept);
}

export function strips(choose) {
  const order = el("select", { id: "unit-order" }, Object.entries(ORDERS).map(([value, text]) => el("option", { value }, text)));
  const gate = el("select", { id: "strip-gate" }, ["forget", "learn", "use"].map((value) => el("option", { value }, KINDS[value][0])));
  const status = el("p", { class: "quiet", role: "status" });
  const made = ["ltm", "stm", "gate"].map((name) => {
    const canvas = el("canvas", { role: "img", class: "heat" }), marker = el("div", { class: "marker", "aria-hidden": "true" });
    const title = name === "gate" ? el("label", { for: "strip-gate" }, "Gate ", gate) : el("span", null, KINDS[name][0]);
    const place = el("div", { class: "strip" }, el("div", { class: "strip-title" }, title), el("div", { class: "heat-place" }, canvas, marker));
    canvas.addEventListener("pointermove", (event) => point(canvas, event));
    canvas.addEventListener("pointerleave", () => { pointed = null; describe(); });
    canvas.addEventListener("click", (event) => { point(canvas, event); if (pointed) choose(pointed.column); });
    return { name, canvas, marker, place };
  });
  const place = el("div", { class: "strips" },
    el("div", { class: "tools" }, el("label", { for: "unit-order" }, "Sort units by"), order, el("p", { class: "quiet key" }, el("i", { class: "cold" }), "below 0", el("i", { class: "warm" }), "above 0", el("i", { class: "open" }), "gate open")),
    made.map((strip) => strip.place), status);

  let insides = [], at = 0, rows = [], kept = [], gap = 0, pointed = null;
  let columns = []; // indexes of `insides`, and null for a gap: events that were not traced

  function lay() {
    columns = [];
    insides.forEach((inside, n) => {
      if (n && insides[n - 1].seq !== inside.seq - 1) columns.push(null);
      columns.push(n);
    });
  }

  function sort() {
    const units = insides[0].ltm.length;
    kept = Array.from({ length: units }, (_, u) => insides.reduce((sum, inside) => sum + inside.forget[u], 0) / insides.length);
    const by = { span: (u) => -kept[u], number: (u) => u, size: (u) => -Math.abs(insides[at].ltm[u]) }[order.value];
    rows = Array.from({ length: units }, (_, u) => u).sort((a, b) => by(a) - by(b));
  }

  function paint({ name, canvas, marker }) {
    const kind = name === "gate" ? gate.value : name, [title, bothWays, curve] = KINDS[kind];
    const width = columns.length, height = rows.length, ground = hex("ground"), warm = hex("warm"), cold = hex("cold"), open = hex("open");
    canvas.width = width;
    canvas.height = height;
    const ink = canvas.getContext("2d"), image = ink.createImageData(width, height);
    columns.forEach((n, x) => n !== null && rows.forEach((unit, y) => {
      const inside = insides[n], level = Math.max(-1, Math.min(curve(inside[kind][unit]), 1)), color = bothWays ? (level < 0 ? cold : warm) : open;
      for (let c = 0; c < 3; c += 1) image.data[(y * width + x) * 4 + c] = ground[c] + (color[c] - ground[c]) * Math.abs(level);
      image.data[(y * width + x) * 4 + 3] = 255;
    }));
    ink.putImageData(image, 0, 0);
    canvas.setAttribute("aria-label", `${title} of ${height} units over the last ${insides.length} events`);
    marker.style.left = `${(columns.indexOf(at) / width) * 100}%`;
    marker.style.width = `${100 / width}%`;
  }

  function point(canvas, event) {
    if (!insides.length) return;
    const box = canvas.getBoundingClientRect();
    const column = Math.min(Math.max(Math.floor(((event.clientX - box.left) / box.width) * columns.length), 0), columns.length - 1);
    pointed = {
      column: columns[column] ?? columns[column - 1],
      unit: rows[Math.min(Math.max(Math.floor(((event.clientY - box.top) / box.height) * rows.length), 0), rows.length - 1)],
    };
    describe();
  }

  function describe() {
    if (!insides.length) return setText(status, "No gate values until the next event.");
    const unit = pointed?.unit ?? rows[0], inside = insides[pointed?.column ?? at], half = halfLife(kept[unit]);
    const life = half > 1e6 ? "half-life over 1,000,000 events" : `half-life ${half < 1 ? "less than one event" : `${count(half)} events`}${gap && half >= 1 ? `, about ${span(half * gap)}` : ""}`;
    setText(status, `${pointed ? "" : "First row: "}unit ${unit + 1} keeps ${percent(kept[unit], 1)} of its LTM an event: ${life}. At event ${count(inside.seq)}: LTM ${inside.ltm[unit].toFixed(3)}, STM ${inside.stm[unit].toFixed(3)}, forget ${percent(inside.forget[unit])}, learn ${percent(inside.learn[unit])}, use ${percent(inside.use[unit])}.`);
  }

  function paintAll() {
    if (!insides.length) return describe();
    sort();
    made.forEach(paint);
    describe();
  }

  order.addEventListener("change", paintAll);
  gate.addEventListener("change", paintAll);
  return {
    place,
    show(of, chosen, usualGap) { insides = of; at = Math.max(chosen, 0); gap = usualGap; lay(); pointed = pointed && pointed.column < of.length ? pointed : null; paintAll(); },
  };
}
