// Rejections by reason, with the latest examples: as text, never as markup.

import { el, getJson } from "./dom.js";
import { bytes, count, time } from "./format.js";

function example({ topic, detail, payload, payload_bytes: size, time: at }) {
  const whole = new TextEncoder().encode(payload).length >= size;
  return el("li", null,
    el("p", null, el("bdi", { class: "name" }, topic), el("span", { class: "quiet" }, ` ${time(at)}, ${bytes(size)}: `), el("bdi", null, detail)),
    el("pre", { tabindex: "0", "aria-label": "payload" }, el("bdi", null, payload || "(empty)"), whole ? null : " …"));
}

export function rejected(main, feed) {
  const list = el("div"), total = el("p", { class: "quiet", role: "status" });
  main.append(el("h1", null, "Rejected"), total, list);
  let known = "";
  async function refresh(o) {
    const counts = JSON.stringify(o.rejected);
    if (counts === known || list.contains(document.activeElement)) return;
    known = counts;
    const answer = await getJson("api/rejected").catch(() => null);
    if (!answer) { known = ""; return; }
    const reasons = answer.reasons.filter((of) => of.count).sort((a, b) => b.count - a.count);
    total.textContent = answer.total ? `${count(answer.total)} rejected since the start; examples show the first kilobyte` : "None since the start.";
    const open = new Set([...list.querySelectorAll("details[open]")].map((of) => of.id));
    list.replaceChildren(...reasons.map((of, n) => el("details", { id: `reason-${of.reason}`, open: known && (open.has(`reason-${of.reason}`) || (!open.size && n === 0)) },
      el("summary", null, el("b", null, of.reason), ` ${count(of.count)} `, el("span", { class: "quiet" }, of.meaning)),
      el("ul", { class: "examples" }, of.examples.map(example)))));
  }
  if (feed.overview) refresh(feed.overview);
  return feed.on("overview", refresh);
}
