// What was refused, by reason, with the latest examples: as text, never as markup.

import { ask, el } from "./dom.js";
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
  async function look(o) {
    const counts = JSON.stringify(o.rejected);
    if (counts === known || list.contains(document.activeElement)) return;
    known = counts;
    const told = await ask("api/rejected").catch(() => null);
    if (!told) { known = ""; return; }
    const some = told.reasons.filter((of) => of.count).sort((a, b) => b.count - a.count);
    total.textContent = told.total ? `${count(told.total)} refused since the start; examples are cut off after a kilobyte` : "Nothing was refused since the start.";
    const open = new Set([...list.querySelectorAll("details[open]")].map((of) => of.id));
    list.replaceChildren(...some.map((of, n) => el("details", { id: `reason-${of.reason}`, open: known && (open.has(`reason-${of.reason}`) || (!open.size && n === 0)) },
      el("summary", null, el("b", null, of.reason), ` ${count(of.count)} `, el("span", { class: "quiet" }, of.meaning)),
      el("ul", { class: "examples" }, of.examples.map(example)))));
  }
  if (feed.overview) look(feed.overview);
  return feed.on("overview", look);
}
