// Chart of a stream, in two parts: value, forecast and prediction interval; below, the anomaly of each event.
// Used by the live page and by the backtest report; drawn by uPlot.
"use strict";
const Course = (() => {
  const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 4 });
  const axis = (more) => ({ stroke: color("quiet"), grid: { stroke: color("line"), width: 1 }, ticks: { stroke: color("line") }, ...more });
  const WIDTH_MIN = 280, UPPER_HEIGHT = 230, LOWER_HEIGHT = 100; // pixels; the width of a small phone

  // Vertical lines, at alerts or at the marked event.
  function lines(times, name) {
    return (chart) => {
      const { ctx, bbox } = chart;
      ctx.save();
      ctx.fillStyle = color(name);
      for (const time of times()) {
        const x = chart.valToPos(time, "x", true);
        if (x >= bbox.left && x <= bbox.left + bbox.width) ctx.fillRect(x - 1, bbox.top, 2, bbox.height);
      }
      ctx.restore();
    };
  }

  // course: lists { time, value, expected, low, high, anomaly, alerts }, and optionally { ahead, marked }.
  function draw(place, course, { utc = false, choose = null } = {}) {
    let shown = course;
    const width = Math.max(place.clientWidth, WIDTH_MIN);
    const common = {
      width, cursor: { sync: { key: place.id }, drag: { x: true, y: false } }, padding: [8, 24, 0, 0],
      tzDate: (seconds) => (utc ? uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC") : new Date(seconds * 1000)),
    };
    const drawClear = [lines(() => shown.alerts, "alert"), lines(() => shown.marked ?? [], "marked")];
    const upper = new uPlot({
      ...common, height: UPPER_HEIGHT, axes: [axis({ space: 80 }), axis({ size: 64, values: (_, marks) => marks.map((m) => short.format(m)) })],
      bands: [{ series: [4, 3], fill: color("band") }],
      series: [{}, { label: "value", stroke: color("value"), width: 1 },
        { label: "forecast", stroke: color("expected"), width: 1 },
        { label: "lower end", stroke: "transparent", points: { show: false } },
        { label: "upper end", stroke: "transparent", points: { show: false } },
        ...(course.ahead ? [{ label: "forecast ahead", stroke: color("expected"), width: 1, dash: [4, 4] }] : [])],
      hooks: { drawClear },
    }, upperColumns(shown), place);
    const lower = new uPlot({
      ...common, height: LOWER_HEIGHT, axes: [axis({ space: 80 }), axis({ size: 64, values: (_, marks) => marks.map((m) => m.toFixed(1)) })],
      scales: { y: { range: [0, 1] } }, legend: { show: false },
      series: [{}, { label: "anomaly", stroke: color("alert"), fill: color("alert"), width: 1 }],
      hooks: { drawClear: [drawClear[1]] },
    }, [shown.time, shown.anomaly], place);
    if (choose) {
      upper.over.addEventListener("click", () => { if (upper.cursor.idx != null) choose(upper.cursor.idx); });
    }
    const sized = new ResizeObserver(() => {
      const now = Math.max(place.clientWidth, WIDTH_MIN);
      if (now !== upper.width) { upper.setSize({ width: now, height: UPPER_HEIGHT }); lower.setSize({ width: now, height: LOWER_HEIGHT }); }
    });
    sized.observe(place);
    return {
      show(course) {
        const { min, max } = upper.scales.x, before = shown.time;
        const zoomed = before.length > 1 && course.time.length > 1 && (min > before[0] || max < before.at(-1));
        shown = course;
        for (const [chart, columns] of [[upper, upperColumns(course)], [lower, [course.time, course.anomaly]]]) {
          chart.setData(columns, !zoomed); // a zoom is kept until a double click
          if (zoomed) chart.setScale("x", { min, max });
        }
      },
      mark(times) { shown.marked = times; upper.redraw(false); lower.redraw(false); },
      end() { sized.disconnect(); upper.destroy(); lower.destroy(); },
    };
  }

  const upperColumns = (c) => [c.time, c.value, c.expected, c.low, c.high, ...(c.ahead ? [c.ahead] : [])];

  return { draw };
})();
