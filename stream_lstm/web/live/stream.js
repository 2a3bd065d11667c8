// One stream: values against forecasts, and its LSTM cell, event by event.

import { cell } from "./cell.js";
import { el, getJson, named, setText, toggle } from "./dom.js";
import { ago, around, count, number, of, percent, ratio, span, time } from "./format.js";
import { strips } from "./strips.js";

const INSIDES_SHOWN = 128; // events whose gates are shown at once: wide enough columns in the heat maps
const COUNTS = [150, 300, 1_000, 2_000]; // events in the chart; the API gives 2,000 at most
const RETRY_MS = 2_000;
const ABOUT_MS = 5_000; // after which error and coverage are fetched again: they change slowly

export function stream(main, feed, name) {
  const state = { about: null, events: [], insides: [], memory: null, forecast: [], layer: 0, target: null, at: -1, live: true, many: 300, ended: false, loading: false };
  const facts = el("dl", { class: "facts row" }), marks = el("p", { class: "marks" }), problem = el("p", { class: "problem", role: "alert" });
  const many = el("select", { id: "many" }, COUNTS.map((n) => el("option", { value: n, selected: n === state.many }, `${count(n)} events`)));
  const target = el("select", { id: "target" }), targets = el("span", { hidden: true }, el("label", { for: "target" }, "Of "), target);
  const layer = el("select", { id: "layer" }), layers = el("span", { hidden: true }, el("label", { for: "layer" }, "Layer "), layer);
  const plot = el("div", { class: "plot", id: "plot", role: "img" });
  const step = el("input", { type: "range", id: "step", min: 0, max: 0, value: 0, "aria-label": "Event" });
  const back = el("button", { type: "button", "aria-label": "Previous event" }, "‹"), on = el("button", { type: "button", "aria-label": "Next event" }, "›");
  const live = el("button", { type: "button", class: "live", "aria-pressed": "true" }, "Live");
  const nothing = el("p", { hidden: true }, "No events since the service started. Its memory is shown below.");
  const which = el("p", { class: "quiet", id: "which" });
  const picture = cell(), heatMaps = strips((column) => choose(column));
  const body = el("div", { hidden: true }); // until there is something to show
  let course = null, painting = 0, timer = 0, fetchedAt = performance.now();

  main.append(
    el("p", { class: "path" }, el("a", { href: "#/" }, "Streams")),
    el("h1", null, named(name)), marks, problem, body);
  body.append(facts,
    el("section", { "aria-labelledby": "course" },
      el("div", { class: "tools" }, el("h2", { id: "course" }, "Forecasts"), targets, el("label", { for: "many" }, "Last"), many,
        el("p", { class: "quiet key" }, el("i", { class: "value" }), "value", el("i", { class: "expected" }), "forecast one event ahead", el("i", { class: "band" }), el("span", { id: "share" }, "prediction interval"), el("i", { class: "alert" }), "alert")),
      nothing, plot),
    el("section", { "aria-labelledby": "cell" },
      el("div", { class: "tools" }, el("h2", { id: "cell" }, "LSTM cell"), layers,
        el("div", { class: "steps", role: "group", "aria-label": "Step through the last events" }, back, step, on, live), which),
      picture.place),
    el("section", { "aria-labelledby": "memory" }, el("h2", { id: "memory" }, "Memory over time"), heatMaps.place));

  const shownTarget = () => state.target ?? state.about.targets[0];
  const single = () => state.about.targets.length <= 1;

  // The columns of the charts: events by time, then the forecast after the last one.
  function columns() {
    const t = shownTarget(), events = [...state.events].sort((a, b) => a.time - b.time);
    const numbers = { time: [], value: [], expected: [], low: [], high: [], anomaly: [], ahead: [], alerts: [], marked: [] };
    for (const event of events) {
      const ends = of(event.expected_interval, t);
      numbers.time.push(event.time);
      numbers.value.push(of(event.value, t ?? state.about.features[0]));
      numbers.expected.push(of(event.expected, t));
      numbers.low.push(ends?.[0] ?? null);
      numbers.high.push(ends?.[1] ?? null);
      numbers.anomaly.push(event.anomaly);
      numbers.ahead.push(null);
      if (event.alert) numbers.alerts.push(event.time);
    }
    const last = events.at(-1), gap = state.about.usual_gap_seconds;
    if (last && gap > 0 && t !== undefined) {
      numbers.ahead[numbers.ahead.length - 1] = of(last.value, t);
      const coming = state.forecast.length ? state.forecast : [{ ahead: 1, value: last.prediction, interval: last.interval }];
      for (const step of coming) {
        const ends = of(step.interval, t);
        numbers.time.push(last.time + step.ahead * gap);
        for (const empty of ["value", "expected", "anomaly"]) numbers[empty].push(null);
        numbers.low.push(ends?.[0] ?? null);
        numbers.high.push(ends?.[1] ?? null);
        numbers.ahead.push(of(step.value, t));
      }
    }
    const inside = state.insides[state.at];
    if (inside && !state.live) numbers.marked.push(inside.time);
    return numbers;
  }

  function paint() {
    painting = 0;
    if (state.ended || !state.about) return;
    const drawn = columns(), none = !state.events.length;
    plot.hidden = none;
    nothing.hidden = !none;
    heatMaps.place.hidden = !state.insides.length;
    if (none) { course?.end(); course = null; }
    else if (course) course.show(drawn);
    else course = Course.draw(plot, drawn, { choose: (n) => chooseTime(drawnTime(n)) });
    plot.setAttribute("aria-label", `Values, predictions and anomalies of the last ${state.events.length} events`);
    showFacts();
    showInside();
  }
  const drawnTime = (n) => [...state.events].sort((a, b) => a.time - b.time)[n]?.time;
  const repaint = () => { painting ||= requestAnimationFrame(paint); };

  function showFacts() {
    const { about, events } = state, now = feed.overview?.now ?? Date.now() / 1e3, last = events.at(-1);
    const rows = [
      ["Events", count(last?.seq ?? about.events_total)],
      ["Last value", number(last?.value ?? about.value)],
      ["Expected next", around(last?.prediction ?? about.prediction, last?.interval ?? about.interval)],
      ["Anomaly", last ? ratio(last.anomaly) : ratio(about.anomaly)],
      ["Relative error", ratio(about.error_ratio)],
      [`Coverage of the ${percent(about.interval_share)} interval`, typeof about.covered === "number" ? percent(about.covered) : number(about.covered)],
      ["Usual gap", span(about.usual_gap_seconds)],
      ["Event time", time(last?.time ?? about.time)],
      ["Last seen", ago(about.seen, now)],
    ];
    if (last?.label) rows.splice(2, 1, ["Label", `${last.label} (${percent(last.probabilities[last.label])})`]);
    if (facts.childNodes.length !== rows.length) facts.replaceChildren(...rows.map(([title]) => el("div", null, el("dt", null, title), el("dd"))));
    rows.forEach(([title, text], n) => { setText(facts.childNodes[n].firstChild, title); setText(facts.childNodes[n].lastChild, text); });
    const states = [about.where === "disk" && "on disk", about.stale && "stale", !about.warm && (last?.seq ?? 0) < 100 && "cold", about.frozen && "frozen: excluded from learning"].filter(Boolean);
    if (marks.textContent !== states.join("")) marks.replaceChildren(...states.map((text) => el("span", { class: "mark" }, text)));
    setText(document.getElementById("share"), `${percent(about.interval_share)} prediction interval`);
  }

  function showInside() {
    const all = state.insides;
    if (state.live || state.at >= all.length) state.at = all.length - 1;
    const inside = all[state.at];
    step.max = Math.max(all.length - 1, 0);
    step.value = Math.max(state.at, 0);
    step.disabled = back.disabled = on.disabled = all.length < 2;
    live.setAttribute("aria-pressed", String(state.live));
    heatMaps.show(all, state.at, state.about.usual_gap_seconds);
    if (!inside) {
      if (state.memory) picture.memory(state.memory, around(of(state.about.prediction, shownTarget()), of(state.about.interval, shownTarget())));
      return setText(which, "No gate values until the next event.");
    }
    const event = state.events.find((one) => one.seq === inside.seq), before = all[state.at - 1];
    const t = shownTarget(), follows = before?.seq === inside.seq - 1 ? before : null;
    picture.show(inside, follows, event, { value: number(of(event?.value, t)), prediction: event?.label ?? around(of(event?.prediction, t), of(event?.interval, t)) });
    const text = `Event ${count(inside.seq)}, ${time(inside.time)}${event ? `: ${number(event.value)}${event.kind ? `, ${event.kind}` : ""}` : ""}`;
    setText(which, text);
    step.setAttribute("aria-valuetext", text);
  }

  function choose(n) {
    if (!state.insides.length) return;
    state.at = Math.min(Math.max(n, 0), state.insides.length - 1);
    state.live = false;
    repaint();
  }

  function chooseTime(at) {
    choose(Math.max(state.insides.findLastIndex((inside) => inside.time <= at), 0)); // or the oldest that was traced
  }

  async function load() {
    clearTimeout(timer);
    if (state.loading || state.ended) return;
    state.loading = true;
    try {
      const [about, insides] = await Promise.all([
        getJson("api/stream", { name, events: state.many }),
        getJson("api/stream/insides", { name, layer: state.layer, events: INSIDES_SHOWN })]);
      if (state.ended) return;
      Object.assign(state, { about, events: about.events, insides: insides.events, memory: insides, forecast: insides.forecast });
      setText(problem, "");
      body.hidden = false;
      offer(insides);
      repaint();
    } catch (error) {
      if (state.ended) return;
      body.hidden ||= error.status === 404;
      setText(problem, error.status === 404 ? "This stream does not exist (any more)." : `Cannot read the stream: ${error.message}.`);
      if (error.status !== 404) timer = setTimeout(load, RETRY_MS);
    } finally {
      state.loading = false;
    }
  }

  function offer(insides) {
    if (!layer.options.length) {
      for (let n = 0; n < insides.layers; n += 1) layer.append(el("option", { value: n }, String(n + 1)));
      layers.hidden = insides.layers < 2;
      for (const one of state.about.targets) target.append(el("option", { value: one }, one));
      targets.hidden = single();
    }
  }

  function append(news) {
    if (news.name !== name || !state.about) return;
    const last = state.events.at(-1)?.seq ?? 0;
    if (news.after > last) return load(); // news are missing
    state.events = [...state.events, ...news.events.filter((event) => event.seq > last)].slice(-state.many);
    const traced = state.insides.at(-1)?.seq ?? 0, before = state.insides.length;
    state.insides = [...state.insides, ...news.insides.filter((inside) => inside.seq > traced)];
    const gone = Math.max(state.insides.length - 2 * INSIDES_SHOWN, 0);
    state.insides = state.live ? state.insides.slice(-INSIDES_SHOWN) : state.insides.slice(gone);
    if (!state.live) state.at = Math.max(state.at - gone, 0);
    if (state.insides.length || before) state.forecast = news.forecast;
    Object.assign(state.about, { seen: feed.overview?.now ?? state.about.seen, stale: false });
    repaint();
  }

  // Fetch error, coverage and the like again.
  async function refresh() {
    if (!state.about || state.loading) return;
    if (performance.now() - fetchedAt > ABOUT_MS) {
      fetchedAt = performance.now();
      const about = await getJson("api/stream", { name, events: 0 }).catch(() => null);
      if (about && !state.ended) state.about = about;
    }
    if (!painting && !state.ended) showFacts();
  }

  const redraw = () => { course?.end(); course = null; repaint(); }; // in the colors of the new scheme
  const scheme = matchMedia("(prefers-color-scheme: dark)");
  scheme.addEventListener("change", redraw);

  const off = [
    feed.on("news", append),
    feed.on("open", load),
    feed.on("gone", () => { setText(problem, "This stream does not exist (any more)."); }),
    feed.on("overview", refresh),
  ];
  many.addEventListener("change", () => { state.many = Number(many.value); load(); });
  target.addEventListener("change", () => { state.target = target.value; repaint(); });
  layer.addEventListener("change", () => { state.layer = Number(layer.value); state.insides = []; feed.follow(name, state.layer); load(); });
  step.addEventListener("input", () => choose(Number(step.value)));
  back.addEventListener("click", () => choose(state.at - 1));
  on.addEventListener("click", () => choose(state.at + 1));
  live.addEventListener("click", () => { state.live = !state.live; repaint(); });
  toggle(main, "one", true);
  load();
  return () => {
    state.ended = true;
    clearTimeout(timer);
    off.forEach((call) => call());
    scheme.removeEventListener("change", redraw);
    toggle(main, "one", false);
    course?.end();
  };
}
