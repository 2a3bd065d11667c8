// The LSTM cell as a diagram: LTM, STM and event go in; four gates; a new LTM, a new STM and a prediction come
// out. Each gate shows how far it is open: on average, and for each unit as a bar.

import { el, setText, svg } from "./dom.js";
import { percent } from "./format.js";

const BARS_MAX = 96; // narrower bars are hard to see; in a wider layer, neighbours share a bar
const BOX = { width: 150, height: 84 };
const PLACES = { // upper left corners
  ltm: [10, 34], event: [10, 180], stm: [10, 306],
  forget: [206, 34], remember: [394, 34], learn: [394, 180], use: [630, 180],
  newLtm: [820, 34], newStm: [820, 180], prediction: [820, 306],
};
const RAILS = [ // lines from box to box
  ["ltm", "M160 76H206"], ["ltm", "M356 76H394"], ["ltm", "M544 76H820"], ["ltm", "M705 76V180"],
  ["learnt", "M469 180V118"], ["stm", "M160 348H705V264"], ["stm", "M281 348V118"], ["stm", "M469 348V264"],
  ["event", "M160 222H183V348"], ["stm", "M780 222H820"], ["stm", "M895 264V306"],
];
const TITLES = {
  ltm: "LTM", event: "Event", stm: "STM", forget: "Forget", remember: "Remember", learn: "Learn", use: "Use",
  newLtm: "new LTM", newStm: "new STM", prediction: "Prediction",
};
const GATES = { // names here and in the literature
  forget: "Forget gate", learn: "Learn gate (input gate × candidate)", remember: "Remember gate (c′ = f·c + i·g)", use: "Use gate (output gate)",
};
const MEMORY = "LTM, long-term memory: cell state c. STM, short-term memory: hidden state h.";
const ELEPHANT = "M8 22V13a8 7 0 0 1 8-7h4a8 7 0 0 1 8 7v9h-4v-5h-8v5zM9 8a5 5 0 1 0 1 6M3 11q-3 3-1 10q2 1 2-2q-1-5 3-6";
const FISH = "M2 13q10-10 20 0l6-5v10l-6-5q-10 10-20 0zM8 11.5h.1";
const WAVES = "M14 20v-5M14 12a1 1 0 1 0 .1 0M9 17a7 7 0 0 1 0-9M19 17a7 7 0 0 0 0-9M6 19a11 11 0 0 1 0-13M22 19a11 11 0 0 0 0-13";
const PICTURES = { ltm: ELEPHANT, stm: FISH, event: WAVES };

const mean = (numbers) => numbers.reduce((sum, x) => sum + x, 0) / numbers.length;
const clipped = (text) => (text.length > 19 ? `${text.slice(0, 18)}…` : text);

function shrunk(numbers) {
  if (numbers.length <= BARS_MAX) return numbers;
  return Array.from({ length: BARS_MAX }, (_, n) => mean(numbers.slice(Math.floor((n * numbers.length) / BARS_MAX), Math.floor(((n + 1) * numbers.length) / BARS_MAX))));
}

// Bars from a middle line in both directions, or from the bottom.
function barcode(group, numbers, bothWays) {
  const shown = shrunk(numbers), step = 130 / shown.length, barHeight = 26;
  while (group.childNodes.length < shown.length) group.append(svg("rect"));
  while (group.childNodes.length > shown.length) group.lastChild.remove();
  shown.forEach((x, n) => {
    const size = Math.min(Math.abs(x), 1) * (bothWays ? barHeight / 2 : barHeight), bar = group.childNodes[n];
    const y = bothWays ? (x < 0 ? barHeight / 2 : barHeight / 2 - size) : barHeight - size;
    bar.setAttribute("x", (n * step).toFixed(2));
    bar.setAttribute("width", Math.max(step - 0.4, 0.6).toFixed(2));
    bar.setAttribute("y", y.toFixed(2));
    bar.setAttribute("height", Math.max(size, 0.5).toFixed(2));
    bar.setAttribute("class", bothWays ? (x < 0 ? "below" : "above") : "open");
  });
}

function box(name) {
  const [x, y] = PLACES[name], main = svg("text", { x: 140, y: 25, "text-anchor": "end", class: "main" }), bars = svg("g", { transform: "translate(10 48)" });
  const more = svg("text", { x: 10, y: 42, class: "more" });
  const place = svg("g", { transform: `translate(${x} ${y})`, class: `box ${name} ${name in GATES ? "gate" : "thing"}` },
    svg("rect", { width: BOX.width, height: BOX.height, rx: 10, class: "ground" }),
    svg("text", { x: 10, y: 24, class: "title" }, TITLES[name]), main, more, bars,
    PICTURES[name] ? svg("path", { d: PICTURES[name], transform: "translate(112 6)", class: "picture" }) : "");
  return { place, main, more, bars };
}

export function cell() {
  const boxes = Object.fromEntries(Object.keys(PLACES).map((name) => [name, box(name)]));
  const words = Object.fromEntries(Object.keys(GATES).map((gate) => [gate, el("dd")]));
  const picture = svg("svg", { viewBox: "0 0 980 404", role: "img", class: "cell", "aria-labelledby": "cell-words" },
    svg("defs", null, svg("marker", { id: "tip", viewBox: "0 0 8 8", refX: 7, refY: 4, markerWidth: 14, markerHeight: 14, markerUnits: "userSpaceOnUse", orient: "auto-start-reverse" }, svg("path", { d: "M0 0L8 4L0 8z" }))),
    RAILS.map(([kind, d]) => svg("path", { d, class: `rail ${kind}`, "marker-end": d.endsWith("V348") ? null : "url(#tip)" })),
    Object.values(boxes).map(({ place }) => place));
  const place = el("div", { class: "cell-and-words" },
    el("div", { class: "wide", tabindex: "0", role: "region", "aria-label": "Diagram of the LSTM cell" }, picture),
    el("p", { class: "quiet" }, MEMORY),
    el("dl", { class: "gates", id: "cell-words" },
      ...Object.keys(GATES).flatMap((gate) => [el("dt", { class: gate }, GATES[gate]), words[gate]])));

  // Show the memory only: no event has been traced yet.
  function memory({ ltm, stm }, prediction) {
    setText(boxes.prediction.more, clipped(prediction));
    setText(boxes.event.more, "");
    barcode(boxes.event.bars, [], true);
    barcode(boxes.stm.bars, [], true);
    for (const name of ["newLtm", "ltm"]) barcode(boxes[name].bars, name === "ltm" ? [] : ltm.map(Math.tanh), true);
    barcode(boxes.newStm.bars, stm, true);
    for (const gate of Object.keys(GATES)) {
      setText(boxes[gate].main, "");
      barcode(boxes[gate].bars, [], false);
      setText(words[gate], "Unknown until the next event.");
    }
  }

  // Show the gates at an event.
  // before: the inside of the event before it, if it is known; texts: value and prediction.
  function show(inside, before, event, texts) {
    const kept = inside.ltm.map((x, n) => x - inside.learn[n] * inside.news[n]);
    const learnt = inside.ltm.map((x, n) => x - kept[n]);
    const was = before?.ltm ?? kept.map((x, n) => (inside.forget[n] > 0.01 ? x / inside.forget[n] : 0));
    const size = (numbers) => numbers.reduce((sum, x) => sum + Math.abs(x), 0);
    const fresh = size(learnt) / Math.max(size(learnt) + size(kept), 1e-9);
    barcode(boxes.ltm.bars, was.map(Math.tanh), true);
    barcode(boxes.stm.bars, before?.stm ?? [], true);
    barcode(boxes.event.bars, inside.event.map((x) => Math.tanh(x / 2)), true);
    barcode(boxes.forget.bars, inside.forget, false);
    barcode(boxes.learn.bars, inside.learn, false);
    barcode(boxes.remember.bars, learnt.map(Math.tanh), true);
    barcode(boxes.use.bars, inside.use, false);
    barcode(boxes.newLtm.bars, inside.ltm.map(Math.tanh), true);
    barcode(boxes.newStm.bars, inside.stm, true);
    const open = { forget: mean(inside.forget), learn: mean(inside.learn), remember: fresh, use: mean(inside.use) };
    for (const gate of Object.keys(GATES)) {
      setText(boxes[gate].main, percent(open[gate]));
      boxes[gate].place.style.setProperty("--open", open[gate].toFixed(3));
    }
    setText(boxes.event.more, event ? clipped(texts.value) : "");
    setText(boxes.prediction.more, event ? clipped(texts.prediction) : "");
    setText(boxes.prediction.main, "");
    const least = Math.min(...inside.forget), most = Math.max(...inside.learn);
    setText(words.forget, `Share of the LTM that is kept: ${percent(open.forget)} on average, ${percent(least)} in the unit that keeps least.`);
    setText(words.learn, `Share of the candidate that is added: ${percent(open.learn)} on average, ${percent(most)} in the unit with the largest share.`);
    setText(words.remember, `Adds what was learnt to what was kept; the sum is the new LTM. ${percent(fresh, fresh < 0.1 ? 1 : 0)} of it is new.`);
    setText(words.use, `Share of the new LTM that is shown as the new STM: ${percent(open.use)} on average. The prediction is read from it.`);
  }

  return { place, show, memory };
}

