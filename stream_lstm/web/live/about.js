// The model in use, the settings in force, and where to read on.

import { ask, el } from "./dom.js";
import { bytes, count } from "./format.js";

const row = (title, ...content) => [el("dt", null, title), el("dd", null, ...content)];

function card(of) {
  const words = (names) => names.join(", ") || "none";
  return el("dl", { class: "facts" },
    row("id", el("code", null, of.id)), row("from", of.source),
    row("shape", `${count(of.layers)} × ${count(of.units)} units, ${count(of.weights)} weights; ${bytes(of.memory_bytes_per_stream)} of memory a stream`),
    row("sees", words(of.features)), row("what enters the cell", words(of.inputs)), row("scaling", of.scaling),
    row("predicts", of.readout === "classes" ? words(of.labels) : words(of.targets)), row("how far ahead", `${words(of.horizon.map(String))} events`),
    Object.entries(of.made).map(([name, text]) => row(name.replaceAll("_", " "), text)));
}

export function about(main) {
  const model = el("div"), settings = el("pre", { tabindex: "0", "aria-label": "Settings" });
  main.append(
    el("h1", null, "About"),
    el("section", { "aria-labelledby": "model" }, el("h2", { id: "model" }, "Model"), model),
    el("section", { "aria-labelledby": "settings" }, el("h2", { id: "settings" }, "Settings in force"), settings),
    el("section", { "aria-labelledby": "more" }, el("h2", { id: "more" }, "For programs"),
      el("p", null, "All that this page shows is read from ", el("a", { href: "api/openapi.json" }, "an API"), "; Prometheus reads ", el("a", { href: "metrics" }, "metrics"), ".")));
  ask("api/model").then((of) => model.replaceChildren(card(of)), (error) => { model.textContent = error.message; });
  ask("api/settings").then((of) => { settings.textContent = JSON.stringify(of, null, 2); }, (error) => { settings.textContent = error.message; });
}
