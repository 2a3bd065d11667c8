// About: the model in use, the settings in force, links for programs.

import { el, getJson } from "./dom.js";
import { bytes, count } from "./format.js";

const row = (title, ...content) => [el("dt", null, title), el("dd", null, ...content)];

function card(model) {
  const list = (names) => names.join(", ") || "none";
  return el("dl", { class: "facts" },
    row("id", el("code", null, model.id)), row("source", model.source),
    row("size", `layers × units: ${count(model.layers)} × ${count(model.units)}, ${count(model.weights)} weights; ${bytes(model.memory_bytes_per_stream)} of memory a stream`),
    row("features", list(model.features)), row("inputs of the cell", list(model.inputs)), row("scaling", model.scaling),
    model.readout === "classes" ? row("labels", list(model.labels)) : row("targets", list(model.targets)),
    row("horizon", `${list(model.horizon.map(String))} events ahead`),
    Object.entries(model.made).map(([name, text]) => row(name.replaceAll("_", " "), text)));
}

export function about(main) {
  const model = el("div"), settings = el("pre", { tabindex: "0", "aria-label": "Settings" });
  main.append(
    el("h1", null, "About"),
    el("section", { "aria-labelledby": "model" }, el("h2", { id: "model" }, "Model"), model),
    el("section", { "aria-labelledby": "settings" }, el("h2", { id: "settings" }, "Settings in force"), settings),
    el("section", { "aria-labelledby": "programs" }, el("h2", { id: "programs" }, "For programs"),
      el("p", null, "This page reads everything from ", el("a", { href: "api/openapi.json" }, "the API"), ". Prometheus reads ", el("a", { href: "metrics" }, "metrics"), ".")));
  getJson("api/model").then((answer) => model.replaceChildren(card(answer)), (error) => { model.textContent = error.message; });
  getJson("api/settings").then((answer) => { settings.textContent = JSON.stringify(answer, null, 2); }, (error) => { settings.textContent = error.message; });
}
